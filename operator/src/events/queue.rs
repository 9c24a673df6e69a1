//! Events on their way from the API server to the file.
//!
//! It is bounded: should the file not take them, memory does not grow. What a watch brings cannot wait, so the oldest
//! make room; what a list brings can, so the next page is asked for when there is room.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Some seconds of the busiest cluster.
const ROOM: usize = 1000;

pub(super) struct Queue<T> {
    waiting: Mutex<VecDeque<T>>,
    filled: Notify,
    emptied: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Adds one, and tells how many were lost for that.
    pub(super) fn push(&self, item: T) -> u64 {
        let mut waiting = self.lock();
        let lost = u64::from(waiting.len() >= ROOM && waiting.pop_front().is_some());
        waiting.push_back(item);
        self.filled.notify_one();
        lost
    }

    /// Adds one as soon as there is room.
    pub(super) async fn push_patiently(&self, item: T) {
        while self.lock().len() >= ROOM {
            self.emptied.notified().await;
        }
        let _none = self.push(item);
    }

    /// Returns when there is something, also if that was so before the call.
    pub(super) async fn filled(&self) {
        while self.lock().is_empty() {
            self.filled.notified().await;
        }
    }

    /// The oldest.
    pub(super) fn take(&self, limit: usize) -> Vec<T> {
        let mut waiting = self.lock();
        let count = waiting.len().min(limit);
        let taken = waiting.drain(..count).collect();
        self.emptied.notify_one();
        taken
    }

    /// Puts back what was taken, and tells how many were lost since there is less room by now.
    pub(super) fn put_back(&self, items: Vec<T>) -> u64 {
        let mut waiting = self.lock();
        let room = ROOM.saturating_sub(waiting.len());
        let lost = items.len().saturating_sub(room);
        items.into_iter().skip(lost).rev().for_each(|item| waiting.push_front(item));
        lost as u64
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn full() -> Queue<usize> {
        let queue = Queue::default();
        (0..ROOM).for_each(|number| assert_eq!(queue.push(number), 0));
        queue
    }

    #[test]
    fn the_oldest_make_room_for_what_cannot_wait() {
        let queue = full();
        assert_eq!(queue.push(ROOM), 1);
        assert_eq!(queue.take(2), [1, 2]);
    }

    #[tokio::test]
    async fn what_can_wait_does() {
        let queue = full();
        let brief = Duration::from_millis(50);
        assert!(tokio::time::timeout(brief, queue.push_patiently(ROOM)).await.is_err());
        tokio::join!(queue.push_patiently(ROOM), async {
            tokio::time::sleep(brief).await;
            assert_eq!(queue.take(1), [0]);
        });
        assert_eq!(queue.len(), ROOM);
    }

    proptest! {
        #[test]
        fn whatever_is_put_back_order_stays_and_every_loss_is_told(
            before in 0..ROOM + 5, taken in 0..ROOM + 5, after in 0..ROOM + 5,
        ) {
            let queue = Queue::default();
            let mut lost: u64 = (0..before).map(|number| queue.push(number)).sum();
            let held = queue.take(taken);
            lost += (before..before + after).map(|number| queue.push(number)).sum::<u64>();
            lost += queue.put_back(held);
            let rest = queue.take(usize::MAX);
            prop_assert!(rest.is_sorted());
            prop_assert_eq!(rest.len() as u64 + lost, (before + after) as u64);
        }
    }
}
