//! The permit: the right to perform one judged call, once, soon.
//!
//! It can be made in this crate only, from an allow that is already recorded; it is not `Clone`, is spent by value,
//! is bound to the digest of exactly what was judged and lives two seconds, so that `halt` can promise that nothing
//! starts two seconds later.
//!
//! ```compile_fail
//! use countersign_gate::permit::Permit;
//! fn forge() -> Permit { Permit { call_digest: todo!(), until: todo!() } }
//! ```
//! ```compile_fail
//! fn twice(permit: countersign_gate::permit::Permit) {
//!     let _again = permit.clone();
//! }
//! ```

use crate::seams::Committed;
use countersign_core::call::ToolCall;
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::time::Timestamp;
use std::time::Duration;

/// How long a permit may stay unspent (DECISIONS row 59).
pub const PERMIT_LIFE: Duration = Duration::from_secs(2);

/// The right to perform one call.
#[derive(Debug)]
pub struct Permit {
    call_digest: Digest,
    /// On the gate's monotonic clock.
    until: Duration,
    /// The database's time of the record.
    at: Timestamp,
    mails_today: Option<u32>,
}

impl Permit {
    /// INVARIANT permit-after-record: called by the gate only, right after the commit that recorded the allow.
    pub(crate) fn new(call: &ToolCall, now: Duration, by: &Committed) -> Permit {
        Permit {
            call_digest: call.call_digest(),
            until: now + PERMIT_LIFE,
            at: by.at,
            mails_today: by.mails_today,
        }
    }

    /// Spends the permit on a call. Fails when it is for another call or too old; it is gone either way.
    pub fn spend(self, call: &ToolCall, now: Duration) -> Result<Spent, Code> {
        if self.call_digest != call.call_digest() {
            return Err(Code::Internal);
        }
        if now > self.until {
            return Err(Code::PermitExpired);
        }
        Ok(Spent { call_digest: self.call_digest, at: self.at, mails_today: self.mails_today })
    }
}

/// That a permit was spent in time: what a hand shows where it opens a secret for the call.
///
/// ```compile_fail
/// fn forge() -> countersign_gate::permit::Spent {
///     countersign_gate::permit::Spent { call_digest: todo!(), at: todo!(), mails_today: None }
/// }
/// ```
#[derive(Debug)]
pub struct Spent {
    call_digest: Digest,
    at: Timestamp,
    mails_today: Option<u32>,
}

impl Spent {
    /// Whether it was spent on this call.
    pub fn on(&self, call: &ToolCall) -> bool {
        self.call_digest == call.call_digest()
    }

    /// The database's time of the record that the permit stands on.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The mails of that UTC day, with this one, where the call sends one.
    pub fn mails_today(&self) -> Option<u32> {
        self.mails_today
    }
}

/// Leave to carry a message that is no call: made by the gate only, for a closed list of methods.
///
/// ```compile_fail
/// fn forge() -> countersign_gate::permit::Pass { countersign_gate::permit::Pass(()) }
/// ```
#[derive(Debug)]
pub struct Pass(());

impl Pass {
    pub(crate) fn new() -> Pass {
        Pass(())
    }
}
