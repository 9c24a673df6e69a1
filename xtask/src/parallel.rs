//! The same work for several things at once.

/// Does `work` for every item on a thread of its own. What it gives is in the items' order; where it panics, so does this.
pub fn side_by_side<I: Send, A: Send>(items: impl IntoIterator<Item = I>, work: impl Fn(I) -> A + Sync) -> Vec<A> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|given| given.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
