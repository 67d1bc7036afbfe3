//! What the tests decode with.

use std::sync::Arc;

use sluicegate_decode::{
    Context, Counts, Decoder, Fault, Limits, Mapping, MappingError, MappingSettings, Precision,
    Reading,
};

/// When every message of these tests came.
pub(crate) const ARRIVAL_US: i64 = 1_795_800_000_123_456;

/// A reading that outlives its decoder: type, id1, id2, value, time.
pub(crate) type Owned = (String, i32, String, f64, i64);

#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) readings: Vec<Owned>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) counts: Counts,
}

impl Decoded {
    pub(crate) fn add(&mut self, outcome: Result<Reading<'_>, Fault>) {
        match outcome {
            Ok(reading) => self.readings.push(owned(&reading)),
            Err(fault) => self.faults.push(fault),
        }
    }

    /// The faults as sentences.
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.faults.iter().map(Fault::to_string).collect()
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.readings.iter().map(|reading| reading.3).collect()
    }
}

pub(crate) fn owned(reading: &Reading<'_>) -> Owned {
    (
        reading.sensor_type.text.to_owned(),
        reading.id1,
        reading.id2.text.to_owned(),
        reading.sensor_value,
        reading.timestamp_us,
    )
}

pub(crate) fn reading(
    sensor_type: &str,
    id1: i32,
    id2: &str,
    value: f64,
    timestamp_us: i64,
) -> Owned {
    (
        sensor_type.to_owned(),
        id1,
        id2.to_owned(),
        value,
        timestamp_us,
    )
}

/// A mapping as it stands in YAML.
pub(crate) fn mapping(yaml: &str) -> Mapping {
    refusal(yaml).unwrap()
}

pub(crate) fn refusal(yaml: &str) -> Result<Mapping, MappingError> {
    let settings: MappingSettings = serde_norway::from_str(yaml).unwrap();
    Mapping::new(&settings)
}

pub(crate) fn context() -> Context<'static> {
    Context {
        arrival_us: ARRIVAL_US,
        ..Context::default()
    }
}

pub(crate) fn decode_with(mapping: &Mapping, context: &Context<'_>, payload: &[u8]) -> Decoded {
    let mut decoder = Decoder::new(Arc::new(mapping.clone()), Limits::default());
    let mut decoded = Decoded::default();
    match decoder.message(context) {
        Ok(mut message) => decoded.counts = message.whole(payload, |outcome| decoded.add(outcome)),
        Err(fault) => decoded.faults.push(fault),
    }
    decoded
}

pub(crate) fn decode(mapping: &Mapping, payload: impl AsRef<[u8]>) -> Decoded {
    decode_with(mapping, &context(), payload.as_ref())
}

/// Line protocol without any setting.
pub(crate) fn influx(payload: impl AsRef<[u8]>) -> Decoded {
    decode(&Mapping::line_protocol(), payload)
}

pub(crate) fn influx_in(precision: &str, payload: impl AsRef<[u8]>) -> Decoded {
    let context = Context {
        precision: Some(Precision::of_parameter(precision).unwrap()),
        ..context()
    };
    decode_with(&Mapping::line_protocol(), &context, payload.as_ref())
}
