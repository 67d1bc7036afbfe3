//! The readings of a run: the same specification makes the same readings.

mod clock;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use self::clock::Clock;
use crate::patterns::{Patterns, Values, turns};

/// Ids of one `id1` among numbered series: a plant with a thousand sensors.
const SENSORS_PER_ID1: u32 = 1_000;
/// The year 10000, which no column of the database can hold.
const FAR_FUTURE_US: i64 = 253_402_300_800_000_000;
/// Ways of being bad.
const BAD_KINDS: u64 = 5;

/// All that the readings of a run depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkloadSpec {
    pub(crate) patterns: Patterns,
    pub(crate) connections: u16,
    /// Timestamp of the first reading.
    pub(crate) start_us: i64,
    /// Between one reading of the run and the next, microseconds.
    pub(crate) step_us: f64,
}

impl WorkloadSpec {
    /// False for what no run has: it was read from somewhere.
    pub(crate) fn is_possible(&self) -> bool {
        self.patterns.check().is_ok() && self.connections > 0 && possible_step(self.step_us)
    }
}

/// At rates from a thousandth to a hundred million readings per second.
pub(crate) fn possible_step(step_us: f64) -> bool {
    (0.01..=1e9).contains(&step_us)
}

/// Makes the readings of one connection.
#[derive(Debug)]
pub(crate) struct Workload {
    random: SmallRng,
    series: Vec<SeriesSpec>,
    slots: Slots,
    /// Distribution of each series.
    values: Vec<Values>,
    /// Where each series' walk is.
    walk: Vec<f64>,
    clock: Clock,
    shares: Option<Shares>,
    /// Different readings so far.
    made: u64,
    bad: u64,
    /// The last reading changed its time with this one.
    swapped: bool,
    /// To be sent once more.
    again: Option<Made>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeriesSpec {
    pub(crate) id1: i32,
    pub(crate) id2: String,
    pub(crate) sensor_type: String,
}

/// A reading; `series` is an index into [`Workload::series`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Made {
    pub(crate) series: usize,
    pub(crate) value: f64,
    pub(crate) timestamp_us: i64,
    /// The service has to reject it.
    pub(crate) bad: bool,
}

/// Which series the n-th reading belongs to.
#[derive(Debug)]
enum Slots {
    /// They take turns.
    Numbered { series: u64 },
    /// Pairs of ids take turns, and each time round the next type does.
    Pairs {
        pairs: u64,
        types: u64,
        turns: Vec<usize>,
    },
}

/// What a throw of the dice decides; each is the end of its part of 0 to 1.
#[derive(Debug, Clone, Copy)]
struct Shares {
    late: f64,
    out_of_order: f64,
    duplicates: f64,
    bad: f64,
    late_by_us: i64,
}

impl Shares {
    fn of(patterns: &Patterns) -> Option<Self> {
        // A swap and a resend bring two readings for one throw. The shares are of readings, so each throw has to be so
        // much more likely.
        let readings_per_throw = 1.0 / (1.0 - patterns.out_of_order - patterns.duplicates);
        let late = patterns.late * readings_per_throw;
        let out_of_order = late + patterns.out_of_order * readings_per_throw;
        let duplicates = out_of_order + patterns.duplicates * readings_per_throw;
        let bad = duplicates + patterns.bad * readings_per_throw;
        (bad > 0.0).then(|| Self {
            late,
            out_of_order,
            duplicates,
            bad,
            late_by_us: patterns.late_by.as_us().max(1),
        })
    }
}

impl Workload {
    /// The part of connection `connection`, from 0. Each series belongs to one connection, so that it stays in order;
    /// with fewer series than connections some share one.
    pub(crate) fn new(spec: &WorkloadSpec, connection: u16) -> Self {
        let patterns = &spec.patterns;
        let part = (u32::from(connection), u32::from(spec.connections));
        let (mut series, type_of, slots) = match patterns.id1.is_some() || patterns.id2.is_some() {
            true => pairs(patterns, part),
            false => numbered(patterns, part),
        };
        let values: Vec<Values> = type_of
            .into_iter()
            .map(|one| patterns.types[one].values.unwrap_or(patterns.values))
            .collect();
        let start = |values: &Values| match values {
            Values::Walk { start, .. } => *start,
            _ => 0.0,
        };
        let walk = values.iter().map(start).collect();
        let shares = Shares::of(patterns);
        let seed = patterns.seed ^ (u64::from(connection) << 48);
        if patterns.bad > 0.0 {
            series.extend(bad_series());
        }
        Self {
            random: SmallRng::seed_from_u64(seed),
            series,
            slots,
            values,
            walk,
            clock: Clock::new(spec, connection, seed),
            shares,
            made: 0,
            bad: 0,
            swapped: false,
            again: None,
        }
    }

    pub(crate) fn series(&self) -> &[SeriesSpec] {
        &self.series
    }

    /// The next reading is measured at `base_us`, and the ones after it follow in steps of `step_us`.
    pub(crate) fn set_clock(&mut self, base_us: i64, step_us: f64) {
        self.clock.set(self.made, base_us, step_us);
    }

    /// When it is the next reading's turn to be measured.
    pub(crate) fn next_at_us(&self) -> i64 {
        self.clock.turn_of(self.made)
    }

    pub(crate) fn next(&mut self) -> Made {
        if let Some(again) = self.again.take() {
            return again;
        }
        let reading = self.made;
        self.made += 1;
        let series = self.slots.series(reading);
        let timestamp_us = self.clock.at(reading);
        let value = self.value(series, timestamp_us);
        let made = Made {
            series,
            // Adding 0 makes one zero of the two.
            value: (value * 100.0).round() / 100.0 + 0.0,
            timestamp_us,
            bad: false,
        };
        match self.shares {
            None => made,
            Some(shares) => self.disturb(made, reading, shares),
        }
    }

    fn value(&mut self, series: usize, timestamp_us: i64) -> f64 {
        match self.values[series] {
            Values::Walk { start, step } => {
                let step: f64 = self.random.random_range(-step..step);
                // A pull to the middle keeps a long walk in a plausible range.
                let walk = &mut self.walk[series];
                *walk += step + (start - *walk) * 0.001;
                *walk
            }
            Values::Uniform { from, to } => self.random.random_range(from..to),
            Values::Normal { mean, deviation } => {
                let sample: f64 = StandardNormal.sample(&mut self.random);
                mean + deviation * sample
            }
            Values::Sine { from, to, period_s } => {
                let turns = timestamp_us as f64 / (period_s * 1e6) + series as f64 * 0.01;
                let swing = (turns * std::f64::consts::TAU).sin();
                from + (to - from) * (swing + 1.0) / 2.0
            }
            Values::Constant { value } => value,
        }
    }

    fn disturb(&mut self, mut made: Made, reading: u64, shares: Shares) -> Made {
        if self.swapped {
            self.swapped = false;
            made.timestamp_us = self.clock.at(reading - 1);
            return made;
        }
        let fate: f64 = self.random.random();
        if fate < shares.late {
            made.timestamp_us -= self.random.random_range(1..=shares.late_by_us);
        } else if fate < shares.out_of_order {
            made.timestamp_us = self.clock.at(reading + 1);
            self.swapped = true;
        } else if fate < shares.duplicates {
            self.again = Some(made);
        } else if fate < shares.bad {
            made.bad = true;
            match self.bad % BAD_KINDS {
                0 => made.value = f64::NAN,
                1 => made.value = f64::INFINITY,
                2 => made.timestamp_us = FAR_FUTURE_US,
                3 => made.series = self.series.len() - 2,
                _ => made.series = self.series.len() - 1,
            }
            self.bad += 1;
        }
        made
    }
}

impl Slots {
    #[inline]
    fn series(&self, reading: u64) -> usize {
        match self {
            Self::Numbered { series } => (reading % series) as usize,
            Self::Pairs {
                pairs,
                types,
                turns,
            } => {
                let turn = turns[(reading / pairs % turns.len() as u64) as usize];
                (reading % pairs * types) as usize + turn
            }
        }
    }
}

/// The series of one connection, the type of each, and their order.
type Table = (Vec<SeriesSpec>, Vec<usize>, Slots);

fn numbered(patterns: &Patterns, part: (u32, u32)) -> Table {
    let turns = turns(&patterns.types);
    let (series, type_of): (Vec<_>, Vec<_>) = part_of(patterns.series, part)
        .map(|number| {
            let type_of = turns[number as usize % turns.len()];
            let series = SeriesSpec {
                // At most 100,000,000 series: the quotient fits.
                id1: i32::try_from(number / SENSORS_PER_ID1).unwrap_or(i32::MAX),
                id2: format!("sensor-{number:06}"),
                sensor_type: patterns.types[type_of].name.clone(),
            };
            (series, type_of)
        })
        .unzip();
    let slots = Slots::Numbered {
        series: series.len() as u64,
    };
    (series, type_of, slots)
}

fn pairs(patterns: &Patterns, part: (u32, u32)) -> Table {
    let id1 = patterns
        .id1
        .as_ref()
        .map_or_else(|| vec![0], |set| set.ids.clone());
    let id2 = patterns.id2.as_ref();
    let id2 = id2.map_or_else(|| vec!["sensor-000000".to_owned()], |set| set.ids.clone());
    let count = u32::try_from(id1.len() * id2.len()).unwrap_or(u32::MAX);
    let (mut series, mut type_of) = (Vec::new(), Vec::new());
    let mut pairs = 0;
    for pair in part_of(count, part) {
        pairs += 1;
        for (place, sensor_type) in patterns.types.iter().enumerate() {
            series.push(SeriesSpec {
                id1: id1[pair as usize / id2.len()],
                id2: id2[pair as usize % id2.len()].clone(),
                sensor_type: sensor_type.name.clone(),
            });
            type_of.push(place);
        }
    }
    let slots = Slots::Pairs {
        pairs,
        types: patterns.types.len() as u64,
        turns: turns(&patterns.types),
    };
    (series, type_of, slots)
}

/// The numbers below `count` that fall to this of so many connections; at least one.
fn part_of(count: u32, (connection, connections): (u32, u32)) -> impl Iterator<Item = u32> {
    let first = match connection < count {
        true => connection,
        false => connection % count,
    };
    let end = match connection < count {
        true => count,
        false => first + 1,
    };
    (first..end).step_by(connections as usize)
}

/// Series that the service has to reject readings of: an id2 that is too long, and one with a line break.
fn bad_series() -> [SeriesSpec; 2] {
    ["x".repeat(51), "line\nbreak".to_owned()].map(|id2| SeriesSpec {
        id1: 0,
        id2,
        sensor_type: "bad".to_owned(),
    })
}

/// The same for equal series, in every process.
pub(crate) fn series_hash(id1: i32, id2: &str, sensor_type: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id1, id2, sensor_type).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
