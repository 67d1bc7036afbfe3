//! What a producer is told, and what is possible.

use std::time::Duration;

use super::{
    Encoding, ProducerError,
    batch::{BATCH_BYTES, READING_BYTES},
    bearer::Bearer,
    encoder::COLUMNS_READING_BYTES,
    error::{MAX_POSITION_BYTES, wrong},
    tls::Tls,
};

/// The longest source position, with its tag and length.
const POSITION_BYTES: usize = MAX_POSITION_BYTES + 4;

/// The meaning of each stands with [`ProducerBuilder`](super::ProducerBuilder).
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) target: String,
    pub(super) stream_id: Option<String>,
    pub(super) bearer: Bearer,
    pub(super) tls: Tls,
    pub(super) encoding: Encoding,
    pub(super) acked: bool,
    pub(super) max_batch_readings: usize,
    pub(super) max_message_bytes: usize,
    pub(super) linger: Duration,
    pub(super) max_unacknowledged_bytes: usize,
    pub(super) backoff_min: Duration,
    pub(super) backoff_max: Duration,
    pub(super) give_up_after: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) connect_patience: Option<Duration>,
    pub(super) keepalive: Duration,
}

impl Settings {
    /// The defaults.
    pub(super) fn new(target: String) -> Self {
        Self {
            target,
            stream_id: None,
            bearer: Bearer::None,
            tls: Tls::default(),
            encoding: Encoding::Columns,
            acked: true,
            max_batch_readings: 16_384,
            max_message_bytes: 256 << 10,
            linger: Duration::from_millis(5),
            max_unacknowledged_bytes: 32 << 20,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            give_up_after: None,
            connect_timeout: Duration::from_secs(10),
            connect_patience: None,
            keepalive: Duration::from_secs(10),
        }
    }

    /// Names the first setting that is wrong, and makes sizes fit each other.
    pub(super) fn validated(self) -> Result<Self, ProducerError> {
        let mut settings = self;
        if let Some(stream_id) = &settings.stream_id
            && !(1..=128).contains(&stream_id.chars().count())
        {
            return Err(wrong("stream_id", "must have 1 to 128 characters"));
        }
        if settings.max_batch_readings == 0 {
            return Err(wrong("max_batch_readings", "must be at least 1"));
        }
        if !(4_096..=4 << 20).contains(&settings.max_message_bytes) {
            return Err(wrong("max_message_bytes", "must be 4,096 to 4,194,304"));
        }
        if settings.backoff_min.is_zero() || settings.backoff_min > settings.backoff_max {
            return Err(wrong("backoff", "min must be above 0 and at most max"));
        }
        if settings.connect_timeout.is_zero() || settings.keepalive.is_zero() {
            return Err(wrong("connect_timeout", "and keepalive must be above 0"));
        }
        if settings.give_up_after.is_some_and(|after| after.is_zero()) {
            return Err(wrong("give_up_after", "must be above 0"));
        }
        // One batch of columns is one message, whatever the values are; the dictionary has its own.
        settings.max_batch_readings = settings
            .max_batch_readings
            .min((settings.max_message_bytes - POSITION_BYTES) / (COLUMNS_READING_BYTES + 1));
        settings.max_unacknowledged_bytes = settings
            .max_unacknowledged_bytes
            .max(BATCH_BYTES + settings.max_batch_readings * READING_BYTES);
        Ok(settings)
    }
}
