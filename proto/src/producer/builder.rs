//! The settings of a producer.

use std::{sync::Arc, time::Duration};

use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Encoding, Producer, ProducerError,
    batch::{BATCH_BYTES, READING_BYTES},
    connector::Connector,
    delivery::Delivery,
    encoder::COLUMNS_READING_BYTES,
    progress::Books,
    shared::Shared,
};

/// What a producer was told; see [`ProducerBuilder`] for the meaning of each.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) target: String,
    pub(super) stream_id: Option<String>,
    pub(super) bearer_token: Option<MetadataValue<Ascii>>,
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
    pub(super) keepalive: Duration,
}

/// Collects the settings of a [`Producer`]. Made by [`Producer::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerBuilder {
    settings: Settings,
    invalid: Option<ProducerError>,
}

impl ProducerBuilder {
    pub(super) fn new(target: String) -> Self {
        Self {
            settings: Settings {
                target,
                stream_id: None,
                bearer_token: None,
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
                keepalive: Duration::from_secs(10),
            },
            invalid: None,
        }
    }

    /// Names the stream, in 1 to 128 bytes. A named stream is stored exactly once and in order, over every crash on
    /// either side. Without a name the producer is anonymous: what a broken call had not acknowledged is sent again,
    /// so that readings are stored at least once.
    pub fn stream_id(mut self, stream_id: impl Into<String>) -> Self {
        self.settings.stream_id = Some(stream_id.into());
        self
    }

    /// Sends `authorization: Bearer <token>` with every call.
    pub fn bearer_token(mut self, token: &str) -> Self {
        match MetadataValue::try_from(format!("Bearer {token}")) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.settings.bearer_token = Some(value);
            }
            Err(_) => {
                self.invalid = Some(wrong("bearer_token", "must be visible ASCII characters"));
            }
        }
        self
    }

    /// How readings travel; columns unless told otherwise.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.settings.encoding = encoding;
        self
    }

    /// True (the default): acknowledgements arrive while the call is open. False: plain client streaming, where
    /// nothing is known to be durable until a call ends; a call is ended by `flush`, and when the unacknowledged limit
    /// is reached.
    pub fn acked(mut self, acked: bool) -> Self {
        self.settings.acked = acked;
        self
    }

    /// Readings after which a batch is sent, at least 1; 16,384 by default.
    pub fn max_batch_readings(mut self, readings: usize) -> Self {
        self.settings.max_batch_readings = readings;
        self
    }

    /// Bytes that a message may take, 4,096 to 4,194,304; 256 KiB by default. The service refuses more than 4 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes;
        self
    }

    /// The time after which a batch is sent that is not full; 5 ms by default.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Bytes of unacknowledged readings (20 each, and 128 per batch) that the producer keeps before `push` waits;
    /// 32 MiB by default. At least one full batch is always taken.
    pub fn max_unacknowledged_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_unacknowledged_bytes = bytes;
        self
    }

    /// The ceiling of the first wait after a failure, and the highest one; 50 ms and 5 s by default. Each wait is a
    /// random share of its ceiling.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.settings.backoff_min = min;
        self.settings.backoff_max = max;
        self
    }

    /// Ends the producer with [`ProducerError::GaveUp`] when it has had no progress for so long. Without it the
    /// producer tries for ever, except in [`connect`](Self::connect).
    pub fn give_up_after(mut self, deadline: Duration) -> Self {
        self.settings.give_up_after = Some(deadline);
        self
    }

    /// The time one attempt to connect and open the stream may take; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Interval of HTTP/2 pings, and the time after which an unanswered one breaks the connection; 10 s by default.
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.settings.keepalive = interval;
        self
    }

    /// Connects and opens the stream, which fences every older writer of it. Failures that may pass are tried again
    /// until `give_up_after`, or `connect_timeout` where that is not set.
    ///
    /// # Errors
    /// When a setting is wrong, the service refuses, or it cannot be reached in time.
    pub async fn connect(self) -> Result<Producer, ProducerError> {
        let settings = Arc::new(self.validate()?);
        let connector = Connector::new(&settings)?;
        let opened = connector.open_first(&settings).await?;
        let committed_seq = opened.committed_seq();
        let shared = Arc::new(Shared::new(&settings, committed_seq));
        let books = Books::new(committed_seq, opened.rejected());
        let (delivery, progress) = Delivery::new(settings, connector, Arc::clone(&shared), books);
        let task = tokio::spawn(delivery.run(opened));
        Ok(Producer::new(shared, progress, task))
    }

    fn validate(self) -> Result<Settings, ProducerError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let mut settings = self.settings;
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
        // One batch of columns is one message, whatever the values are; the dictionary has its own.
        settings.max_batch_readings = settings
            .max_batch_readings
            .min(settings.max_message_bytes / (COLUMNS_READING_BYTES + 1));
        settings.max_unacknowledged_bytes = settings
            .max_unacknowledged_bytes
            .max(BATCH_BYTES + settings.max_batch_readings * READING_BYTES);
        Ok(settings)
    }
}

fn wrong(setting: &'static str, reason: &str) -> ProducerError {
    ProducerError::InvalidSetting {
        setting,
        reason: reason.to_owned(),
    }
}
