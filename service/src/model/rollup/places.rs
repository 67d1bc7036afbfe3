//! Stretches of time, as seconds since the Unix epoch: where the readings of a batch lie, or what is not known for sure.

use std::{fmt, ops::Range};

use super::bucket_of;

/// Places that a batch tells at the most: a device with a random clock has readings everywhere.
const PLACES_MAX: usize = 64;

/// Stretches, ascending, none of which touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<Range<i64>>);

impl Places {
    /// The buckets of these instants, microseconds; neighbours and, where there are too many, those next to each other are taken
    /// together. Fastest where the instants ascend.
    #[must_use]
    pub fn of_times(times_us: impl Iterator<Item = i64>, every_us: i64) -> Self {
        let mut starts = Vec::new();
        let mut bucket = 0..0;
        for at in times_us {
            if !bucket.contains(&at) {
                let start = bucket_of(at, every_us);
                bucket = start..start.saturating_add(every_us);
                starts.push(start);
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let seconds = |us: i64| us.div_euclid(1_000_000);
        let of = |start: i64| seconds(start)..seconds(start.saturating_add(every_us));
        let mut places = Self::of(starts.into_iter().map(of));
        places.keep(PLACES_MAX);
        places
    }

    /// Of any stretches.
    pub fn of(ranges: impl Iterator<Item = Range<i64>>) -> Self {
        let mut ranges: Vec<_> = ranges.filter(|range| range.start < range.end).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut places: Vec<Range<i64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match places.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => places.push(range),
            }
        }
        Self(places)
    }

    /// At most so many: the narrowest gaps between them are closed.
    fn keep(&mut self, most: usize) {
        let excess = self.0.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let gap = |index: &usize| self.0[index + 1].start - self.0[*index].end;
        let mut gaps: Vec<usize> = (0..self.0.len() - 1).collect();
        gaps.sort_by_key(gap);
        gaps.truncate(excess);
        let closed = gaps
            .into_iter()
            .map(|index| self.0[index].end..self.0[index + 1].start);
        *self = Self::of(self.0.clone().into_iter().chain(closed.collect::<Vec<_>>()));
    }

    #[must_use]
    pub fn all(&self) -> &[Range<i64>] {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As whole buckets of another length, seconds.
    #[must_use]
    pub fn aligned(&self, every_s: u32) -> Self {
        let aligned = self.0.iter().map(|range| outwards(range, every_s));
        Self::of(aligned)
    }

    /// What is left of a stretch without these, ascending.
    #[must_use]
    pub fn without(&self, stretch: &Range<i64>) -> Vec<Range<i64>> {
        let mut left = Vec::new();
        let mut at = stretch.start;
        for place in &self.0 {
            if place.end <= at {
                continue;
            }
            if place.start >= stretch.end {
                break;
            }
            if place.start > at {
                left.push(at..place.start);
            }
            at = place.end;
        }
        if at < stretch.end {
            left.push(at..stretch.end);
        }
        left
    }

    /// With those of others.
    #[must_use]
    pub fn and(self, others: impl Iterator<Item = Range<i64>>) -> Self {
        Self::of(self.0.into_iter().chain(others))
    }

    /// As they are written.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let place = |place: &str| {
            // A time before 1970 begins with a sign.
            let middle = place.get(1..)?.find('-')? + 1;
            let (from, to) = (place.get(..middle)?, place.get(middle + 1..)?);
            Some(from.parse().ok()?..to.parse().ok()?)
        };
        let places: Option<Vec<_>> = text.split(',').map(place).collect();
        Some(Self::of(places?.into_iter()))
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Range { start, end }) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "," };
            write!(f, "{before}{start}-{end}")?;
        }
        Ok(())
    }
}

/// The whole buckets that a stretch lies in.
#[must_use]
pub fn outwards(range: &Range<i64>, every_s: u32) -> Range<i64> {
    let every_s = i64::from(every_s);
    let end = bucket_of(range.end.saturating_add(every_s - 1), every_s);
    bucket_of(range.start, every_s)..end
}

/// The whole buckets that lie in a stretch; it may be empty.
#[must_use]
pub(super) fn inwards(range: &Range<i64>, every_s: u32) -> Range<i64> {
    let every_s = i64::from(every_s);
    let start = bucket_of(range.start.saturating_add(every_s - 1), every_s);
    start..bucket_of(range.end, every_s).max(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_read_as_they_are_written() {
        let places = Places::of([-120..-60, 0..60, 7_200..10_800].into_iter());
        assert_eq!(places.to_string(), "-120--60,0-60,7200-10800");
        assert_eq!(Places::read(&places.to_string()), Some(places));
        for wrong in ["", "-", "1", "a-b", "1-2,"] {
            assert_eq!(Places::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn whole_buckets_lie_around_a_stretch_or_in_it() {
        assert_eq!(
            (outwards(&(61..119), 60), inwards(&(61..119), 60)),
            (60..120, 120..120)
        );
        assert_eq!(
            (outwards(&(60..120), 60), inwards(&(60..120), 60)),
            (60..120, 60..120)
        );
        assert_eq!(
            (outwards(&(-61..181), 60), inwards(&(-61..181), 60)),
            (-120..240, -60..180)
        );
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_one_of_few_places(
            times in proptest::collection::vec(-100_000_000_000_i64..100_000_000_000, 1..300)
        ) {
            let places = Places::of_times(times.iter().copied(), 60_000_000);
            prop_assert!(places.all().len() <= PLACES_MAX);
            prop_assert!(places.all().windows(2).all(|pair| pair[0].end < pair[1].start));
            for at in times {
                let at = at.div_euclid(1_000_000);
                prop_assert!(places.all().iter().any(|place| place.contains(&at)), "{at} {places}");
            }
            let read = Places::read(&places.to_string());
            prop_assert_eq!(read, Some(places));
        }

        #[test]
        fn what_is_left_of_a_stretch_is_what_lies_outside(
            places in proptest::collection::vec((0_i64..100, 1_i64..10), 0..10),
            start in 0_i64..100,
            length in 0_i64..50,
        ) {
            let places = Places::of(places.into_iter().map(|(at, length)| at..at + length));
            let stretch = start..start + length;
            let left = places.without(&stretch);
            for at in -5..160 {
                let expected = stretch.contains(&at) && !places.all().iter().any(|place| place.contains(&at));
                prop_assert_eq!(left.iter().filter(|range| range.contains(&at)).count(), usize::from(expected), "{}", at);
            }
        }
    }
}
