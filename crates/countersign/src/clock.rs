//! The real clock: waits, measures and mints ids. The wall clock of states is the database's.

use async_trait::async_trait;
use countersign_core::ids::RawId;
use countersign_core::time::Timestamp;
use countersign_gate::seams::Clock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The system's clocks and random bytes.
pub struct SystemClock;

#[cfg(target_os = "linux")]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// macOS counts suspension in its monotonic clock.
#[cfg(not(target_os = "linux"))]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[async_trait]
impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        let now = rustix::time::clock_gettime(MONOTONIC);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn fresh_id(&self) -> RawId {
        let mut chance = [0u8; 10];
        // Without random bytes two ids could meet; the store's unique keys then refuse the second, which denies.
        let _ = getrandom::fill(&mut chance);
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        RawId::new(Timestamp(i64::try_from(ms).unwrap_or(0)), chance)
    }
}
