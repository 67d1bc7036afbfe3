//! The readings of a run: the same options and seed make the same readings.

use clap::ValueEnum;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, StandardNormal};

use super::{Rate, RunOptions};

/// Ids of one `id1`: a plant with a thousand sensors.
const SENSORS_PER_ID1: u32 = 1_000;
/// Pace of the timestamps where the run has none: 200,000 readings per second.
const MAX_RATE_STEP_US: f64 = 5.0;
const MIDDLE: f64 = 20.0;
const SPREAD: f64 = 5.0;

/// How values come about. They have two digits behind the point, as sensors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Values {
    /// Each series takes small random steps.
    Walk,
    /// Between 15 and 25, all equally likely.
    Uniform,
    /// Around 20 with a standard deviation of 5.
    Normal,
    /// Each series swings between 15 and 25 with its own phase.
    Sine,
    /// Always 20.
    Constant,
}

/// Makes the readings of one connection.
#[derive(Debug)]
pub(crate) struct Workload {
    values: Values,
    random: SmallRng,
    series: Vec<SeriesSpec>,
    /// Where each series' walk is.
    walk: Vec<f64>,
    start_us: f64,
    step_us: f64,
    /// Place of this connection's first reading in the run, and the distance to the next one.
    first: f64,
    stride: f64,
    made: u64,
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
}

impl Workload {
    /// The part of connection `connection`, from 0. Each series belongs to one connection, so that it stays in order;
    /// with fewer series than connections some share one.
    pub(crate) fn new(options: &RunOptions, connection: u16) -> Self {
        let connections = u32::from(options.connections);
        let connection = u32::from(connection);
        let mut numbers: Vec<u32> = (0..options.series)
            .skip(connection as usize)
            .step_by(connections as usize)
            .collect();
        if numbers.is_empty() {
            numbers.push(connection % options.series);
        }
        let series: Vec<_> = numbers
            .into_iter()
            .map(|number| SeriesSpec::new(number, &options.types))
            .collect();
        Self {
            values: options.values,
            random: SmallRng::seed_from_u64(options.seed ^ (u64::from(connection) << 48)),
            walk: vec![MIDDLE; series.len()],
            series,
            start_us: options.start_time.unwrap_or_default() as f64,
            step_us: match options.rate {
                Rate::PerSecond(rate) => 1e6 / rate,
                Rate::Max => MAX_RATE_STEP_US,
            },
            first: f64::from(connection),
            stride: f64::from(connections),
            made: 0,
        }
    }

    pub(crate) fn series(&self) -> &[SeriesSpec] {
        &self.series
    }

    pub(crate) fn next(&mut self) -> Made {
        let series = (self.made % self.series.len() as u64) as usize;
        let place = self.first + self.made as f64 * self.stride;
        let value = self.value(series, place);
        self.made += 1;
        Made {
            series,
            value: (value * 100.0).round() / 100.0,
            // Epoch microseconds stay below 2^53, so a double holds them exactly.
            timestamp_us: (self.start_us + place * self.step_us) as i64,
        }
    }

    fn value(&mut self, series: usize, place: f64) -> f64 {
        match self.values {
            Values::Walk => {
                let step: f64 = self.random.random_range(-0.1..0.1);
                // A pull to the middle keeps a long walk in a plausible range.
                let walk = &mut self.walk[series];
                *walk += step + (MIDDLE - *walk) * 0.001;
                *walk
            }
            Values::Uniform => self.random.random_range(MIDDLE - SPREAD..MIDDLE + SPREAD),
            Values::Normal => {
                let deviation: f64 = StandardNormal.sample(&mut self.random);
                MIDDLE + SPREAD * deviation
            }
            Values::Sine => {
                let turns = place * self.step_us / 60e6 + series as f64 * 0.01;
                MIDDLE + SPREAD * (turns * std::f64::consts::TAU).sin()
            }
            Values::Constant => MIDDLE,
        }
    }
}

impl SeriesSpec {
    fn new(number: u32, types: &[String]) -> Self {
        Self {
            // At most 100,000,000 series: the quotient fits.
            id1: i32::try_from(number / SENSORS_PER_ID1).unwrap_or(i32::MAX),
            id2: format!("sensor-{number:06}"),
            sensor_type: types[number as usize % types.len()].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        run: RunOptions,
    }

    fn options(flags: &[&str]) -> RunOptions {
        let flags = ["sluicegen", "--start-time", "1000"].iter().chain(flags);
        Flags::parse_from(flags).run
    }

    fn make(options: &RunOptions, connection: u16, count: usize) -> Vec<Made> {
        let mut workload = Workload::new(options, connection);
        (0..count).map(|_| workload.next()).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_readings() {
        for values in ["walk", "uniform", "normal", "sine", "constant"] {
            let options = options(&["--values", values, "--seed", "7"]);
            assert_eq!(make(&options, 0, 500), make(&options, 0, 500));
        }
        assert_ne!(
            make(&options(&["--seed", "1"]), 0, 50),
            make(&options(&["--seed", "2"]), 0, 50)
        );
    }

    #[test]
    fn timestamps_advance_at_the_pace_of_the_rate() {
        let options = options(&["--rate", "1000", "--connections", "2"]);
        let times: Vec<i64> = make(&options, 1, 3)
            .iter()
            .map(|made| made.timestamp_us)
            .collect();
        assert_eq!(times, [1_001_000, 1_003_000, 1_005_000]);
    }

    #[test]
    fn every_series_belongs_to_one_connection() {
        let options = options(&["--series", "2001", "--connections", "3"]);
        let mut ids: Vec<String> = (0..3)
            .flat_map(|connection| Workload::new(&options, connection).series().to_vec())
            .map(|series| format!("{}/{}", series.id1, series.id2))
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2001);
        assert_eq!(ids[2000], "2/sensor-002000");
    }
}
