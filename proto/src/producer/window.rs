//! The unacknowledged batches, in stream order: what a broken call makes us send again.

use std::collections::VecDeque;

use super::batch::SealedBatch;

#[derive(Debug)]
pub(super) struct Window {
    batches: VecDeque<SealedBatch>,
    /// So many batches from the front were handed to the current call.
    in_call: usize,
    committed_seq: u64,
}

impl Window {
    pub(super) fn new(committed_seq: u64) -> Self {
        Self {
            batches: VecDeque::new(),
            in_call: 0,
            committed_seq,
        }
    }

    pub(super) fn committed_seq(&self) -> u64 {
        self.committed_seq
    }

    /// The last position that is in the window; `committed_seq` when it is empty.
    pub(super) fn last_seq(&self) -> u64 {
        self.batches
            .back()
            .map_or(self.committed_seq, SealedBatch::last_seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.in_call < self.batches.len()
    }

    /// Takes the batch that follows the last one. The first one may begin before what the stream has already, at its
    /// source's position.
    pub(super) fn push(&mut self, batch: SealedBatch) {
        if self.batches.is_empty() {
            self.committed_seq = self.committed_seq.min(batch.first_seq() - 1);
        }
        assert_eq!(
            batch.first_seq(),
            self.last_seq() + 1,
            "a stream has no gap"
        );
        self.batches.push_back(batch);
    }

    /// The next batch for the current call, which counts as handed over from now on.
    pub(super) fn next_unsent(&mut self) -> Option<&SealedBatch> {
        let batch = self.batches.get(self.in_call)?;
        self.in_call += 1;
        Some(batch)
    }

    /// Drops what is durable up to and with `seq`, and says how many bytes that freed. The stream may be further than what
    /// was pushed, when that is pushed again from the source's position.
    pub(super) fn acknowledge(&mut self, seq: u64) -> usize {
        let seq = seq.min(self.last_seq());
        self.committed_seq = self.committed_seq.max(seq);
        let mut freed_bytes = 0;
        while let Some(front) = self.batches.front_mut() {
            if front.last_seq() > seq {
                if front.first_seq() <= seq {
                    front.settle_through(seq);
                }
                break;
            }
            freed_bytes += front.bytes();
            self.batches.pop_front();
            self.in_call = self.in_call.saturating_sub(1);
        }
        freed_bytes
    }

    /// Forgets what the last call was given: a new call starts with the first unacknowledged reading.
    pub(super) fn rewind(&mut self) {
        self.in_call = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::batch::OpenBatch, *};

    fn batch(open: &mut OpenBatch, readings: usize) -> SealedBatch {
        for _ in 0..readings {
            open.push(0, open.next_seq() as f64, 0);
        }
        open.seal().expect("not empty")
    }

    /// The positions of everything the next call would send; a reading's value is its position.
    fn resend(window: &mut Window) -> Vec<u64> {
        window.rewind();
        let mut seqs = Vec::new();
        while let Some(batch) = window.next_unsent() {
            assert_eq!(batch.readings().values[0] as u64, batch.first_seq());
            seqs.extend(batch.readings().values.iter().map(|value| *value as u64));
        }
        seqs
    }

    proptest! {
        #[test]
        fn whatever_is_acknowledged_the_rest_is_sent_again_in_order(
            start in 0..1000_u64,
            steps in prop::collection::vec((1..20_usize, 0.0..1.0_f64), 1..50),
        ) {
            let mut window = Window::new(start);
            let mut open = OpenBatch::new(start + 1, 20);
            let mut held_bytes = 0;
            for (readings, share) in steps {
                let sealed = batch(&mut open, readings);
                held_bytes += sealed.bytes();
                window.push(sealed);
                while window.next_unsent().is_some() {}
                let span = window.last_seq() - window.committed_seq();
                let seq = window.committed_seq() + (span as f64 * share) as u64;
                held_bytes -= window.acknowledge(seq);
                prop_assert_eq!(window.committed_seq(), seq);
                let expected: Vec<u64> = (seq + 1..=window.last_seq()).collect();
                prop_assert_eq!(resend(&mut window), expected);
            }
            held_bytes -= window.acknowledge(window.last_seq());
            prop_assert!(window.is_empty());
            prop_assert_eq!(held_bytes, 0);
        }
    }

    #[test]
    fn an_ack_that_comes_late_changes_nothing() {
        let mut window = Window::new(0);
        let mut open = OpenBatch::new(1, 20);
        window.push(batch(&mut open, 10));
        window.acknowledge(7);
        assert_eq!(window.acknowledge(3), 0);
        assert_eq!(window.committed_seq(), 7);
        assert_eq!(resend(&mut window), vec![8, 9, 10]);
    }

    #[test]
    fn an_ack_leaves_what_is_unsent_unsent() {
        let mut window = Window::new(0);
        let mut open = OpenBatch::new(1, 20);
        window.push(batch(&mut open, 5));
        window.push(batch(&mut open, 5));
        assert_eq!(window.next_unsent().expect("first").first_seq(), 1);
        window.acknowledge(5);
        assert!(window.has_unsent());
        assert_eq!(window.next_unsent().expect("second").first_seq(), 6);
        assert!(!window.has_unsent());
    }
}
