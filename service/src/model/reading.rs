//! A reading and the series it belongs to.

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub series: Series,
    pub sensor_value: f64,
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: i64,
}

/// A reading as a producer sent it, perhaps without its value or its time.
#[derive(Clone, Debug, PartialEq)]
pub struct SentReading {
    pub series: Series,
    pub sensor_value: Option<f64>,
    /// Microseconds since the Unix epoch, UTC.
    pub timestamp_us: Option<i64>,
}

/// What a reading is a reading of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub id1: i32,
    pub id2: String,
    pub sensor_type: String,
}
