//! Which payloads are settled, and may be acknowledged to their broker.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::model::Seq;

/// Payloads on their way, and up to which one all are settled. Both sides of the conversation have it.
#[derive(Debug)]
pub(super) struct Deliveries<M>(Arc<Mutex<Inner<M>>>);

impl<M> Clone for Deliveries<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct Inner<M> {
    /// Of each payload its last reading, or that of the one before if it has none.
    on_the_way: VecDeque<(Seq, M)>,
    settled_seq: Seq,
    settled: watch::Sender<Option<M>>,
}

impl<M: Copy> Deliveries<M> {
    /// Readings up to `settled_seq` are settled; `settled` hears of each payload that is.
    pub(super) fn new(settled_seq: Seq, settled: watch::Sender<Option<M>>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            on_the_way: VecDeque::new(),
            settled_seq,
            settled,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a payload whose last reading is `last_seq`.
    pub(super) fn push(&self, last_seq: Seq, mark: M) {
        let mut inner = self.lock();
        inner.on_the_way.push_back((last_seq, mark));
        inner.tell();
    }

    /// Whether there is none that is not settled.
    pub(super) fn are_settled(&self) -> bool {
        self.lock().on_the_way.is_empty()
    }

    /// Takes that all readings up to here are settled.
    pub(super) fn settle(&self, seq: Seq) {
        let mut inner = self.lock();
        inner.settled_seq = inner.settled_seq.max(seq);
        inner.tell();
    }
}

impl<M: Copy> Inner<M> {
    fn tell(&mut self) {
        let mut last = None;
        while let Some(&(seq, mark)) = self.on_the_way.front()
            && seq <= self.settled_seq
        {
            last = Some(mark);
            self.on_the_way.pop_front();
        }
        if last.is_some() {
            self.settled.send_replace(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_settled_with_its_last_reading_and_not_before_those_ahead_of_it() {
        let (sender, settled) = watch::channel(None);
        let deliveries = Deliveries::new(Seq(10), sender);
        deliveries.push(Seq(12), 'a');
        deliveries.push(Seq(12), 'b');
        deliveries.push(Seq(15), 'c');
        deliveries.settle(Seq(11));
        assert_eq!(*settled.borrow(), None);
        deliveries.settle(Seq(14));
        assert_eq!(*settled.borrow(), Some('b'), "it has no reading of its own");
        assert!(!deliveries.are_settled());
        deliveries.settle(Seq(15));
        assert_eq!(*settled.borrow(), Some('c'));
        assert!(deliveries.are_settled());
        deliveries.push(Seq(15), 'd');
        assert_eq!(*settled.borrow(), Some('d'), "nothing is ahead of it");
    }
}
