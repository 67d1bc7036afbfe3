//! A mapping tried on an example, before messages depend on it.

use std::{fmt, sync::Arc};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::{
    decoder::{Context, Decoder},
    fault::Fault,
    mapping::Mapping,
    name::Limits,
    reading::{Counts, Reading},
};

/// As many readings, and as many faults, are shown.
const MAX_SHOWN: usize = 20;

/// What came out of an example.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The first ones.
    pub readings: Vec<TriedReading>,
    /// The first ones, as sentences.
    pub faults: Vec<String>,
    pub counts: Counts,
}

/// A reading that came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriedReading {
    pub sensor_value: f64,
    pub sensor_type: String,
    pub id1: i32,
    pub id2: String,
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: i64,
}

/// Decodes an example.
#[must_use]
pub fn try_out(mapping: &Mapping, limits: Limits, context: &Context<'_>, payload: &[u8]) -> Trial {
    let mut trial = Trial {
        readings: Vec::new(),
        faults: Vec::new(),
        counts: Counts::default(),
    };
    let mut decoder = Decoder::new(Arc::new(mapping.clone()), limits);
    let counts = decoder
        .message(context)
        .map(|mut message| message.whole(payload, |outcome| trial.add(outcome)));
    match counts {
        Ok(counts) => trial.counts = counts,
        Err(fault) => {
            trial.counts.faults = 1;
            trial.add(Err(fault));
        }
    }
    trial
}

impl Trial {
    fn add(&mut self, outcome: Result<Reading<'_>, Fault>) {
        match outcome {
            Ok(reading) if self.readings.len() < MAX_SHOWN => self.readings.push(TriedReading {
                sensor_value: reading.sensor_value,
                sensor_type: reading.sensor_type.text.to_owned(),
                id1: reading.id1,
                id2: reading.id2.text.to_owned(),
                timestamp_us: reading.timestamp_us,
            }),
            Err(fault) if self.faults.len() < MAX_SHOWN => self.faults.push(fault.to_string()),
            Ok(_) | Err(_) => {}
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reading in &self.readings {
            let time = match DateTime::from_timestamp_micros(reading.timestamp_us) {
                Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
                None => format!("{} us", reading.timestamp_us),
            };
            writeln!(
                f,
                "{time}  {} = {}  (id1 {}, id2 {})",
                reading.sensor_type, reading.sensor_value, reading.id1, reading.id2
            )?;
        }
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let Counts {
            readings,
            faults,
            left_out,
        } = self.counts;
        write!(
            f,
            "readings: {readings}, faults: {faults}, left out for being no numbers: {left_out}"
        )
    }
}
