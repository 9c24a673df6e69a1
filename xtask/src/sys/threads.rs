//! Two things at once: what computes beside what waits, or beside what computes as long.

use std::panic::resume_unwind;
use std::thread;

/// Does `other` in a thread of its own and `one` in the caller's, and waits for both.
pub fn side_by_side<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
