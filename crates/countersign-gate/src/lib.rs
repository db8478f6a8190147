//! The one path of a call, the approval desk and the six seams.
//!
//! **Invariants of absence.** No SQL, no files, no sockets, no clock but the seam's; no wire format of a client. The
//! only constructor of [`permit::Permit`] is here.

pub mod desk;
pub mod gate;
pub mod permit;
pub mod seams;
pub mod servers;
mod told;
