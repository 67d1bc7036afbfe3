//! The readings of a run: the same specification makes the same readings.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

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

/// When the n-th reading was measured.
#[derive(Debug, Clone, Copy)]
struct Clock {
    base_us: f64,
    step_us: f64,
    /// The reading of this connection at `base_us`.
    from: u64,
    /// This connection and the number of all: their readings alternate.
    first: f64,
    stride: f64,
}

impl Clock {
    fn at(&self, reading: u64) -> i64 {
        let since = reading as f64 - self.from as f64;
        // Epoch microseconds stay below 2^53, so a double holds them exactly.
        (self.base_us + (self.first + since * self.stride) * self.step_us) as i64
    }
}

/// Each is the end of its part of 0 to 1.
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
        let late = patterns.late;
        let out_of_order = late + patterns.out_of_order;
        let duplicates = out_of_order + patterns.duplicates;
        let bad = duplicates + patterns.bad;
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
        if patterns.bad > 0.0 {
            series.extend(bad_series());
        }
        Self {
            random: SmallRng::seed_from_u64(patterns.seed ^ (u64::from(connection) << 48)),
            series,
            slots,
            values,
            walk,
            clock: Clock {
                base_us: spec.start_us as f64,
                step_us: spec.step_us,
                from: 0,
                first: f64::from(connection),
                stride: f64::from(spec.connections),
            },
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
        self.clock.base_us = base_us as f64;
        self.clock.step_us = step_us;
        self.clock.from = self.made;
    }

    /// When the next reading is measured.
    pub(crate) fn next_at_us(&self) -> i64 {
        self.clock.at(self.made)
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
mod tests {
    use super::*;

    fn spec(yaml: &str) -> WorkloadSpec {
        let patterns: Patterns = serde_norway::from_str(yaml).unwrap();
        patterns.check().unwrap();
        WorkloadSpec {
            patterns,
            connections: 1,
            start_us: 1_000_000,
            step_us: 5.0,
        }
    }

    fn make(spec: &WorkloadSpec, connection: u16, count: usize) -> Vec<Made> {
        let mut workload = Workload::new(spec, connection);
        (0..count).map(|_| workload.next()).collect()
    }

    fn share(made: &[Made], which: impl Fn(&Made) -> bool) -> f64 {
        made.iter().filter(|made| which(made)).count() as f64 / made.len() as f64
    }

    #[test]
    fn the_same_seed_makes_the_same_readings() {
        for values in ["walk", "uniform", "normal", "sine", "constant"] {
            let spec = spec(&format!(
                "{{values: {values}, seed: 7, late: 0.1, duplicates: 0.1}}"
            ));
            assert_eq!(make(&spec, 0, 500), make(&spec, 0, 500));
        }
        assert_ne!(make(&spec("seed: 1"), 0, 50), make(&spec("seed: 2"), 0, 50));
    }

    #[test]
    fn timestamps_advance_at_the_pace_of_the_rate() {
        let mut spec = spec("seed: 1");
        (spec.connections, spec.step_us) = (2, 1_000.0);
        let times = |made: &[Made]| {
            made.iter()
                .map(|made| made.timestamp_us)
                .collect::<Vec<_>>()
        };
        assert_eq!(times(&make(&spec, 1, 3)), [1_001_000, 1_003_000, 1_005_000]);
        let mut workload = Workload::new(&spec, 1);
        workload.next();
        workload.set_clock(9_000_000, 10.0);
        let made = [workload.next(), workload.next()];
        assert_eq!(times(&made), [9_000_010, 9_000_030]);
    }

    #[test]
    fn every_series_belongs_to_one_connection() {
        let mut spec = spec("series: 2001");
        spec.connections = 3;
        let mut ids: Vec<String> = (0..3)
            .flat_map(|connection| Workload::new(&spec, connection).series().to_vec())
            .map(|series| format!("{}/{}", series.id1, series.id2))
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2001);
        assert_eq!(ids[2000], "2/sensor-002000");
        spec.patterns.series = 2;
        assert_eq!(Workload::new(&spec, 2).series()[0].id2, "sensor-000000");
    }

    #[test]
    fn every_id_pair_measures_every_type_by_weight() {
        let spec = spec("{id1: '1..2', id2: 'a,b', types: ['rain:3', wind]}");
        let workload = Workload::new(&spec, 0);
        let made = make(&spec, 0, 16);
        let names = made.iter().map(|made| &workload.series()[made.series]);
        let of_pair = |id1, id2: &str| {
            let same = |series: &&SeriesSpec| series.id1 == id1 && series.id2 == id2;
            names
                .clone()
                .filter(same)
                .map(|series| series.sensor_type.as_str())
                .collect::<Vec<_>>()
        };
        for (id1, id2) in [(1, "a"), (1, "b"), (2, "a"), (2, "b")] {
            let types = of_pair(id1, id2);
            assert_eq!(types.len(), 4);
            assert_eq!(types.iter().filter(|name| **name == "rain").count(), 3);
        }
    }

    #[test]
    fn disturbances_have_their_shares() {
        let made = make(&spec("{late: 0.1, late_by: 1h, series: 10}"), 0, 20_000);
        let on_time = |place: usize| 1_000_000 + place as i64 * 5;
        let late = made
            .iter()
            .enumerate()
            .filter(|(place, made)| made.timestamp_us < on_time(*place));
        assert!((1_800..2_200).contains(&late.count()));

        let made = make(&spec("out_of_order: 0.1"), 0, 20_000);
        let back = made
            .windows(2)
            .filter(|pair| pair[1].timestamp_us < pair[0].timestamp_us)
            .count();
        assert!((1_600..2_100).contains(&back), "{back}");
        let mut times: Vec<_> = made[..19_998]
            .iter()
            .map(|made| made.timestamp_us)
            .collect();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 19_998, "no time is lost");

        let made = make(&spec("duplicates: 0.1"), 0, 20_000);
        let twice = made.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((1_700..2_100).contains(&twice), "{twice}");

        let spec = spec("bad: 0.1");
        let made = make(&spec, 0, 20_000);
        assert!((0.09..0.11).contains(&share(&made, |made| made.bad)));
        assert!(share(&made, |made| made.value.is_nan()) > 0.01);
        assert!(share(&made, |made| made.series >= 1_000) > 0.03);
    }
}
