//! How a producer is set up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Encoding, Producer, ProducerError, bearer::Bearer, connector::Connector, delivery::Delivery,
    error::wrong, progress::Books, settings::Settings, shared::Shared,
};

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
            settings: Settings::new(target),
            invalid: None,
        }
    }

    /// Names the stream, in 1 to 128 characters. A named stream is stored exactly once and in order, over every crash on
    /// either side. Without a name the producer is anonymous: what a broken call had not acknowledged is sent again,
    /// so that readings are stored at least once.
    pub fn stream_id(mut self, stream_id: impl Into<String>) -> Self {
        self.settings.stream_id = Some(stream_id.into());
        self
    }

    /// Sends `authorization: Bearer <token>` with every call.
    pub fn bearer_token(mut self, token: &str) -> Self {
        match Bearer::fixed(token) {
            Ok(bearer) => self.settings.bearer = bearer,
            Err(invalid) => self.invalid = Some(invalid),
        }
        self
    }

    /// As [`bearer_token`](Self::bearer_token), with what stands in a file, which is read anew whenever the stream is opened.
    /// When the token is no longer valid, the producer tries again until there is another one in the file.
    pub fn bearer_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.bearer = Bearer::file(path.into());
        self
    }

    /// Trusts the authorities of these certificates, in PEM, instead of those that the system trusts. For a target that
    /// begins with `https://`.
    pub fn tls_ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        if !self.settings.tls.trust(pem.as_ref()) {
            self.invalid = Some(wrong("tls_ca", "has no certificate in PEM"));
        }
        self
    }

    /// Proves itself with a certificate and its key, in PEM each. For a target that begins with `https://`.
    pub fn tls_identity(mut self, cert_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.settings
            .tls
            .identify(cert_pem.as_ref(), key_pem.as_ref());
        self
    }

    /// The name that the certificate of the service must have; that of the target by default.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.settings.tls.expect_name(name.into());
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

    /// Bytes that a message may take, 4,096 to 4,194,304; 256 KiB by default. The service must take as much: its
    /// `grpc.max_message_bytes` is 4 MiB by default, and a larger message ends the producer.
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

    /// Ends the producer with [`ProducerError::GaveUp`] when readings have waited for so long without progress, which is
    /// an acknowledgement of some; a plain call (see [`acked`](Self::acked)) acknowledges nothing before its end, so
    /// that there a message that the connection takes is progress as well. Without it the producer tries for ever,
    /// except in [`connect`](Self::connect).
    pub fn give_up_after(mut self, deadline: Duration) -> Self {
        self.settings.give_up_after = Some(deadline);
        self
    }

    /// The time one attempt to connect and open the stream may take; 10 s by default. An attempt that would outlast
    /// `give_up_after` ends with it.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long [`connect`](Self::connect) tries again; `give_up_after` by default, or `connect_timeout` where that is not
    /// set.
    pub fn connect_patience(mut self, patience: Duration) -> Self {
        self.settings.connect_patience = Some(patience);
        self
    }

    /// Interval of HTTP/2 pings, and the time after which an unanswered one breaks the connection; 10 s by default.
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.settings.keepalive = interval;
        self
    }

    /// Connects and opens the stream, which fences every older writer of it. Failures that may pass are tried again for
    /// as long as [`connect_patience`](Self::connect_patience) says.
    ///
    /// # Errors
    /// When a setting is wrong, the service refuses, or it cannot be reached in time.
    pub async fn connect(self) -> Result<Producer, ProducerError> {
        let settings = Arc::new(self.validate()?);
        let connector = Connector::new(&settings)?;
        let (opened, hold) = connector.open_first(&settings).await?;
        let committed_seq = opened.committed_seq();
        let shared = Arc::new(Shared::new(&settings, committed_seq));
        shared.stands_at(opened.source());
        let books = Books::new(committed_seq, opened.rejected());
        let (delivery, progress, trouble) =
            Delivery::new(settings, connector, Arc::clone(&shared), books, hold);
        let task = tokio::spawn(delivery.run(opened));
        Ok(Producer::new(shared, progress, trouble, task))
    }

    /// The name of the stream, once all settings are known to be right.
    #[cfg(feature = "spool")]
    pub(crate) fn checked_stream_id(&self) -> Result<Option<String>, ProducerError> {
        let settings = self.clone().validate()?;
        Connector::new(&settings)?;
        Ok(settings.stream_id)
    }

    fn validate(self) -> Result<Settings, ProducerError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        self.settings.validated()
    }
}
