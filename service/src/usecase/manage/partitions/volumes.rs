//! Where in time many readings arrive, from what batches tell. Partitions follow volume: a single device whose
//! clock is wrong, however often it sends, never gets one of its own.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::plan::{self, Bounds};
use crate::{model::TimeSpan, usecase::ingest::BatchEvent};

/// Readings that count in full when they have just come, and half as much a minute later. So this is a burst, or 115 a
/// second for some minutes.
const MANY_ROWS: f64 = 10_000.0;
const HALF_LIFE_S: f64 = 60.0;
/// How near to each other in time readings have to be to count together: a stream that goes through its time slowly, one
/// that goes faster, and one that brings a long and sparse history.
const LEVELS: [TimeSpan; 3] = [
    TimeSpan::minutes(60),
    TimeSpan::DAY,
    TimeSpan::minutes(28 * 24 * 60),
];
/// The table need not be altered again for so long, if that is possible.
const AHEAD_S: f64 = 60.0;
/// Places in memory. Beyond, those with the fewest readings are forgotten.
const SLOTS_MAX: usize = 4_096;
/// Places that get partitions in one pass, those with the most readings first.
const PLACES: usize = 4;

/// Recent readings by their hour.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    hours: BTreeMap<i64, Volume>,
    halved_at: Option<Instant>,
    /// Events so far.
    events: u64,
    /// Places after the last pass, with the bounds of the partitions that they were in: to look at those again would change
    /// nothing.
    seen_to: Vec<(i64, Bounds)>,
    seen_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    rows: f64,
    /// The last event with readings of this hour, and the latest time that it told of it.
    event: u64,
    at_us: i64,
}

impl Volume {
    fn with(self, other: Self) -> Self {
        let newer = if (self.event, self.at_us) < (other.event, other.at_us) {
            other
        } else {
            self
        };
        Self {
            rows: self.rows + other.rows,
            ..newer
        }
    }
}

impl Volumes {
    pub(super) fn take(&mut self, event: &BatchEvent, now: Instant) {
        self.fade(now);
        self.events += 1;
        for &at_us in &event.times_us {
            let hour = self
                .hours
                .entry(at_us.div_euclid(LEVELS[0].us()))
                .or_default();
            *hour = hour.with(Volume {
                rows: event.rows_each(),
                event: self.events,
                at_us,
            });
        }
        if self.hours.len() > SLOTS_MAX {
            self.forget_the_smallest();
        }
    }

    /// Lets what came earlier count less, every second at the most.
    fn fade(&mut self, now: Instant) {
        let halved_at = *self.halved_at.get_or_insert(now);
        let passed_s = now.duration_since(halved_at).as_secs_f64();
        if passed_s < 1.0 {
            return;
        }
        self.halved_at = Some(now);
        let left = 0.5_f64.powf(passed_s / HALF_LIFE_S);
        self.hours.retain(|_, hour| {
            hour.rows *= left;
            hour.rows >= 0.5
        });
    }

    fn forget_the_smallest(&mut self) {
        let mut rows: Vec<f64> = self.hours.values().map(|hour| hour.rows).collect();
        let (_, &mut middle, _) = rows.select_nth_unstable_by(SLOTS_MAX / 2, f64::total_cmp);
        let mut room = SLOTS_MAX / 2;
        self.hours.retain(|_, hour| {
            let stays = hour.rows >= middle && room > 0;
            room -= usize::from(stays);
            stays
        });
    }

    /// Where many readings arrive, microseconds since the Unix epoch: the newest of each place.
    pub(super) fn places(&self) -> Vec<i64> {
        let mut left: BTreeMap<i64, Volume> = self.hours.clone();
        let mut places = Vec::new();
        for level in LEVELS {
            let hours = level.us() / LEVELS[0].us();
            let mut slots = BTreeMap::<i64, Volume>::new();
            for (hour, volume) in &left {
                let slot = slots.entry(hour.div_euclid(hours)).or_default();
                *slot = slot.with(*volume);
            }
            slots.retain(|_, volume| volume.rows >= MANY_ROWS);
            left.retain(|hour, _| !slots.contains_key(&hour.div_euclid(hours)));
            places.extend(slots.into_values());
        }
        places.sort_by(|one, other| other.rows.total_cmp(&one.rows));
        let most = places.into_iter().take(PLACES);
        most.map(|volume| volume.at_us).collect()
    }

    /// Whether the partition with these bounds was looked at for a place.
    pub(super) fn is_seen_to(&self, bounds: Bounds) -> bool {
        self.seen_to.iter().any(|(_, seen)| *seen == bounds)
    }

    pub(super) fn see_to(&mut self, places: Vec<(i64, Bounds)>, now: Instant) {
        self.seen_to = places;
        self.seen_at = Some(now);
    }

    /// How many partitions to have ahead of a place: what it goes through in [`AHEAD_S`], by how far it came since the last
    /// pass.
    pub(super) fn ahead(&self, at_us: i64, width: TimeSpan, now: Instant) -> i64 {
        let from = self.seen_to.iter().map(|(seen_us, _)| *seen_us);
        let gone_us = from
            .filter(|&seen_us| seen_us < at_us)
            .map(|seen_us| at_us - seen_us)
            .min();
        let passed = self.seen_at.map(|at| now.duration_since(at).as_secs_f64());
        let (Some(gone_us), Some(passed_s)) = (gone_us, passed) else {
            return plan::AHEAD;
        };
        let widths = gone_us as f64 / width.us() as f64 * AHEAD_S / passed_s.max(1.0);
        (widths.ceil() as i64).clamp(plan::AHEAD, plan::AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW_US: i64 = 1_780_315_230_000_000;
    const HOUR_US: i64 = 3_600_000_000;
    const DAY_US: i64 = 24 * HOUR_US;

    fn event(rows: u32, times_us: impl IntoIterator<Item = i64>) -> BatchEvent {
        BatchEvent {
            rows,
            times_us: times_us.into_iter().collect(),
            series: std::sync::Arc::default(),
        }
    }

    #[test]
    fn a_device_with_a_random_clock_makes_no_place() {
        let (mut volumes, start) = (Volumes::default(), Instant::now());
        let mut random = 1_u64;
        // 16 readings a second for ten minutes, anywhere in 55 years.
        for n in 0..9_600_u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at_us = (random >> 13) as i64 % NOW_US;
            volumes.take(&event(1, [at_us]), start + Duration::from_millis(62) * n);
        }
        assert!(volumes.places().is_empty());
        assert!(volumes.hours.len() <= SLOTS_MAX);
    }

    #[test]
    fn a_stream_and_a_backlog_are_two_places() {
        let (mut volumes, now) = (Volumes::default(), Instant::now());
        let backlog_us = NOW_US - 400 * DAY_US;
        let mixed = [vec![backlog_us; 16], vec![NOW_US; 16]].concat();
        volumes.take(&event(12_000, mixed.clone()), now);
        assert!(volumes.places().is_empty());
        volumes.take(&event(12_000, mixed), now);
        let mut places = volumes.places();
        places.sort_unstable();
        assert_eq!(places, [backlog_us, NOW_US]);
    }

    #[test]
    fn a_sparse_history_that_rushes_by_is_one_place_and_its_newest_part_counts() {
        let (mut volumes, now) = (Volumes::default(), Instant::now());
        for n in 0..20 {
            volumes.take(&event(1_000, [NOW_US + n * 20 * HOUR_US]), now);
        }
        assert_eq!(volumes.places(), [NOW_US + 19 * 20 * HOUR_US]);
    }

    #[test]
    fn what_came_long_ago_does_not_count() {
        let (mut volumes, now) = (Volumes::default(), Instant::now());
        volumes.take(&event(12_000, [NOW_US]), now);
        assert_eq!(volumes.places(), [NOW_US]);
        volumes.take(&event(1, [0]), now + Duration::from_secs(60));
        assert!(volumes.places().is_empty());
        volumes.take(&event(1, [0]), now + Duration::from_secs(3_600));
        assert_eq!(volumes.hours.len(), 1);
    }

    #[test]
    fn a_place_that_rushes_through_its_time_gets_more_partitions_ahead() {
        let (mut volumes, start) = (Volumes::default(), Instant::now());
        let later = start + Duration::from_secs(10);
        let minute = TimeSpan::MINUTE;
        assert_eq!(volumes.ahead(NOW_US, minute, later), plan::AHEAD);
        volumes.see_to(vec![(NOW_US, (None, None))], start);
        let on_time = volumes.ahead(NOW_US + 10_000_000, minute, later);
        assert_eq!(on_time, plan::AHEAD);
        let faster = volumes.ahead(NOW_US + 4 * minute.us(), minute, later);
        assert_eq!(faster, 24);
        let backlog = volumes.ahead(NOW_US + DAY_US, minute, later);
        assert_eq!(backlog, plan::AHEAD_MAX);
    }

    #[test]
    fn no_more_than_a_few_places_at_once() {
        let (mut volumes, now) = (Volumes::default(), Instant::now());
        for n in 0..10_u32 {
            let at_us = NOW_US - i64::from(n) * 100 * DAY_US;
            volumes.take(&event(20_000 - n, [at_us]), now);
        }
        assert_eq!(volumes.places().len(), PLACES);
        assert_eq!(volumes.places()[0], NOW_US);
    }
}
