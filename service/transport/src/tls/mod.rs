//! TLS of a server: certificate and key are read anew when their files change, as a pair, and stay what they were while the
//! new ones do not fit.

mod certificate;
mod files;
mod pace;
mod protocol;
pub mod unverified;

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub use self::{
    certificate::{PeerCertificate, certificate_end},
    files::{NamedFile, TlsError, TlsFiles},
    protocol::Protocol,
};
use self::{files::Loaded, pace::Pace};
use crate::idle::Activity;

/// What a connection has encrypted and not sent yet.
const BUFFER_BYTES: usize = 32 << 10;
/// How often the files are looked at. Their bytes are compared: whoever replaces them may do it by links, as Kubernetes does.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// A certificate that expires sooner is worth a warning.
const SOON: Duration = Duration::from_secs(14 * DAY.as_secs());
/// Between two warnings of that.
const WARN_PAUSE: Duration = DAY;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A certificate and its key, and whose certificates are taken from clients.
pub struct Tls {
    files: TlsFiles,
    loaded: RwLock<Arc<Loaded>>,
    /// Of all doors with these files.
    pace: Pace,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = Loaded::new(&files, files.read()?)?;
        if loaded.is_expired(SystemTime::now()) {
            tracing::error!(cert = %files.cert, "the certificate has expired: clients will refuse it");
        }
        Ok(Self {
            files,
            loaded: RwLock::new(Arc::new(loaded)),
            pace: Pace::default(),
        })
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes the handshake of a new connection, however many others begin one at the same time.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        protocol: Protocol,
        activity: &Arc<Activity>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.loaded().config(protocol));
        let handshake = acceptor.accept_with(stream, |session| {
            session.set_buffer_limit(Some(BUFFER_BYTES));
        });
        self.pace.keep(handshake, activity).await
    }

    /// Until when the certificate in use is good.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.loaded().end
    }

    /// Looks at the files once. True when there are new ones in use now.
    ///
    /// # Errors
    /// When they have changed into what does not fit: the old ones are still in use.
    pub fn look(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        if contents == self.loaded().contents {
            return Ok(false);
        }
        let new = Loaded::new(&self.files, contents)?;
        let now = SystemTime::now();
        // Unless the old one is no better.
        if new.is_expired(now) && !self.loaded().is_expired(now) {
            return Err(TlsError::Expired {
                cert: self.files.cert.clone(),
            });
        }
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// Looks at the files until it is told to end. What has changed and does not fit is said once.
    pub async fn watch(self: Arc<Self>, until: CancellationToken) {
        let mut told = Trouble::default();
        let mut warned: Option<Instant> = None;
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            let this = self.clone();
            // The files may lie on a disk that does not answer.
            match tokio::task::spawn_blocking(move || this.look()).await {
                Ok(Ok(false)) => told = Trouble::default(),
                Ok(Ok(true)) => {
                    (told, warned) = (Trouble::default(), None);
                    tracing::info!(cert = %self.files.cert, "new connections get the new certificate");
                }
                Ok(Err(error)) => {
                    if told.is_to_be_told(error.to_string()) {
                        tracing::error!(%error, "the new certificate does not fit: the old one stays in use");
                    }
                }
                Err(panic) => tracing::error!(%panic, "the certificate cannot be looked at"),
            }
            if warned.is_none_or(|at| at.elapsed() > WARN_PAUSE) && self.warns() {
                warned = Some(Instant::now());
            }
        }
    }

    /// Says so when the certificate expires soon.
    fn warns(&self) -> bool {
        let left = self.expires().duration_since(SystemTime::now());
        let left = left.unwrap_or_default();
        if left >= SOON {
            return false;
        }
        let days = left.as_secs() / DAY.as_secs();
        tracing::warn!(cert = %self.files.cert, days, "the certificate expires soon, or has expired");
        true
    }
}

/// What is wrong with the files, look after look.
#[derive(Default)]
struct Trouble {
    seen: String,
    told: bool,
}

impl Trouble {
    /// Once it has been seen twice: between two files of a pair that are replaced one after the other, nothing fits.
    fn is_to_be_told(&mut self, seen: String) -> bool {
        if self.seen != seen {
            *self = Self { seen, told: false };
            return false;
        }
        !std::mem::replace(&mut self.told, true)
    }
}

impl fmt::Debug for Tls {
    /// Nothing of the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
