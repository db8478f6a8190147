//! Waiting a moment before sleeping.
//!
//! A statement runs on the connection's own thread, and most take less time than it takes to sleep and be woken again,
//! on virtual machines much less. So the caller looks again and again for a few microseconds first. Never around a
//! flush, which takes longer, and not where there is one processor, which the other thread needs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Longer than a statement that finds its pages in memory, shorter than anybody notices.
const LOOK_FOR: Duration = Duration::from_micros(60);

/// The end of `work`, waited for without sleeping at first.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    static MANY: OnceLock<bool> = OnceLock::new();
    let many = *MANY.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1));
    let mut work = pin!(work);
    let mut spun = !many;
    poll_fn(move |cx| {
        if !spun {
            spun = true;
            let started = Instant::now();
            let mut quiet = Context::from_waker(Waker::noop());
            while started.elapsed() < LOOK_FOR {
                if let Poll::Ready(done) = work.as_mut().poll(&mut quiet) {
                    return Poll::Ready(done);
                }
                std::hint::spin_loop();
            }
        }
        work.as_mut().poll(cx)
    })
    .await
}
