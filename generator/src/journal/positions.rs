//! Sets of positions, kept as ranges: what is settled in about the order in which it was sent takes next to no memory.

use std::collections::BTreeMap;

/// First and last position of each range; ranges do not touch.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<u64, u64>);

impl Positions {
    /// Adds the positions from `first` to `last`.
    pub(super) fn add(&mut self, mut first: u64, mut last: u64) {
        // The one before, where it reaches up to here, and all that begin within or right behind.
        if let Some((&from, &to)) = self.0.range(..first).next_back()
            && to.saturating_add(1) >= first
        {
            first = from;
            last = last.max(to);
        }
        while let Some((&from, &to)) = self.0.range(first..=last.saturating_add(1)).next() {
            last = last.max(to);
            self.0.remove(&from);
        }
        self.0.insert(first, last);
    }

    /// Every position, in ascending order.
    pub(super) fn each(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(&first, &last)| first..=last)
    }

    /// Tells of positions in ascending order whether they are in the set.
    pub(super) fn walk(&self) -> impl FnMut(u64) -> bool + '_ {
        let mut ranges = self.0.iter().peekable();
        move |position| {
            while ranges.next_if(|range| *range.1 < position).is_some() {}
            ranges.peek().is_some_and(|range| *range.0 <= position)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_become_one() {
        let mut positions = Positions::default();
        for (first, last) in [(5, 6), (1, 2), (9, 9), (7, 8), (2, 3), (20, 30), (22, 25)] {
            positions.add(first, last);
        }
        let ranges: Vec<(u64, u64)> = positions.0.iter().map(|(a, b)| (*a, *b)).collect();
        assert_eq!(ranges, [(1, 3), (5, 9), (20, 30)]);
        assert_eq!(positions.each().count(), 19);
        let mut within = positions.walk();
        let found: Vec<u64> = (1..=31).filter(|position| within(*position)).collect();
        assert_eq!(
            found,
            (1..=3).chain(5..=9).chain(20..=30).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_million_single_calls_of_64_callers_take_no_more_than_64_ranges() {
        let mut positions = Positions::default();
        for block in 0..1_000_000 / 64 {
            // Each block is answered in another order.
            for place in 0..64 {
                let position = block * 64 + (place * 37 + block) % 64 + 1;
                positions.add(position, position);
                assert!(positions.0.len() <= 64);
            }
        }
        assert_eq!(positions.0.len(), 1);
        assert_eq!(positions.each().count(), 1_000_000);
    }
}
