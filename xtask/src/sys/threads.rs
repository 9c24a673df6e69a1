//! Several things at once: what computes beside what waits, or beside what computes as long.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

/// Does `other` in a thread of its own and `one` in the caller's, and waits for both.
pub fn side_by_side<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), ended(other))
    })
}

/// Does the same with each of these, each in a thread of its own, and waits for all. The results are in their order.
pub fn with_each<T: Send, R: Send>(each: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let begun: Vec<_> = each.into_iter().map(|one| scope.spawn(move || work(one))).collect();
        begun.into_iter().map(ended).collect()
    })
}

/// A panic of the thread goes on in the caller's.
fn ended<R>(thread: ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
