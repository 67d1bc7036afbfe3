//! Who is let in: asked before each call, and told by the file who is known.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::Utc;
use hyper::HeaderMap;
use sluicegate_transport::{Complaint, Peer};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    accounts::{Accounts, Fault},
    credentials,
    failures::Failures,
    metrics::AuthMetrics,
    need::{Need, OpenMetrics, Refusal},
    principal::Principal,
    token_file::{TokenFile, TokenFileError},
};
use crate::telemetry::metrics::Word;

/// How often the file is looked at, and what has expired ends.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How the gate is kept.
#[derive(Clone, Debug)]
pub struct GateSettings {
    pub file: TokenFile,
    pub open_metrics: OpenMetrics,
    /// For each address and minute.
    pub max_failures: u32,
}

/// Knows everybody who is let in.
#[derive(Debug)]
pub struct Gate {
    file: TokenFile,
    open_metrics: OpenMetrics,
    accounts: RwLock<Arc<Accounts>>,
    /// What the file held when it was last looked at.
    read: Vec<u8>,
    failures: Failures,
    metrics: AuthMetrics,
    refused: Complaint,
}

impl Gate {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it is wrong.
    pub fn open(settings: GateSettings, metrics: AuthMetrics) -> Result<Self, TokenFileError> {
        let GateSettings {
            file,
            open_metrics,
            max_failures,
        } = settings;
        let read = file.trusted_bytes()?;
        let accounts = accounts(&file, &read)?;
        metrics.tokens(accounts.good(Utc::now()));
        Ok(Self {
            file,
            open_metrics,
            accounts: RwLock::new(Arc::new(accounts)),
            read,
            failures: Failures::new(max_failures),
            metrics,
            refused: Complaint::default(),
        })
    }

    fn accounts(&self) -> Arc<Accounts> {
        self.accounts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who calls, if the call needs somebody known.
    ///
    /// # Errors
    /// When that cannot be, or they may not do this.
    pub fn check(
        &self,
        door: Word,
        need: Need,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Option<Arc<Principal>>, Refusal> {
        let address = peer.map(|peer| peer.address.ip().to_canonical());
        if need == Need::Nothing || (need == Need::Metrics && self.shows_metrics(address)) {
            return Ok(None);
        }
        let refuse = |why, refusal| {
            self.metrics.refuse(door, Word(why));
            if self.refused.is_due() {
                let address = address.map(tracing::field::display);
                tracing::warn!(door = door.0, why, address, "somebody was not let in");
            }
            refusal
        };
        let accounts = self.accounts();
        let principal = match credentials::token(headers) {
            Err(unreadable) => {
                return Err(refuse("unreadable", self.limited(address, unreadable)));
            }
            Ok(Some(token)) => accounts.by_token(&token, Utc::now()).map_err(|fault| {
                let why = match fault {
                    Fault::Unknown => "unknown",
                    Fault::Revoked => "revoked",
                    Fault::Expired => "expired",
                };
                refuse(why, self.limited(address, Refusal::Invalid))
            })?,
            Ok(None) => peer
                .and_then(|peer| peer.certificate.as_deref())
                .and_then(|certificate| accounts.by_certificate(certificate))
                .ok_or_else(|| refuse("missing", Refusal::Missing))?,
        };
        if !need.is_met_by(principal) {
            let principal = principal.name.clone();
            return Err(refuse("scope", Refusal::Scope { need, principal }));
        }
        Ok(Some(principal.clone()))
    }

    fn shows_metrics(&self, address: Option<IpAddr>) -> bool {
        match self.open_metrics {
            OpenMetrics::All => true,
            OpenMetrics::Loopback => address.is_some_and(|address| address.is_loopback()),
            OpenMetrics::None => false,
        }
    }

    /// A token that was good is let in however many bad ones come from its address: nobody behind the same proxy can lock
    /// others out, and 256 bits are not guessed.
    fn limited(&self, address: Option<IpAddr>, refusal: Refusal) -> Refusal {
        match address.and_then(|address| self.failures.note(address)) {
            None => refusal,
            Some(retry_after) => {
                self.metrics.limit();
                // Whole seconds, and none too few.
                let retry_after = Duration::from_secs(retry_after.as_secs() + 1);
                Refusal::TooMany { retry_after }
            }
        }
    }

    /// Reads the file anew when what it holds has changed, and ends what has expired. A file that is broken changes
    /// nothing, and is told of once.
    pub async fn watch(self: Arc<Self>, until: CancellationToken) {
        let mut read: Arc<Found> = Arc::new(Ok(self.read.clone()));
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            let (file, before) = (self.file.clone(), read.clone());
            // A large file takes its time, and so does a disk that is far away.
            if let Ok(Some((found, fresh))) = spawn_blocking(move || look(&file, &before)).await {
                self.take(fresh);
                read = Arc::new(found);
            }
            let now = Utc::now();
            let accounts = self.accounts();
            accounts.expire(now);
            self.metrics.tokens(accounts.good(now));
        }
    }

    fn take(&self, fresh: Result<Accounts, String>) {
        self.metrics.file(fresh.is_err());
        match fresh {
            Ok(mut fresh) => {
                let mut accounts = self
                    .accounts
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                fresh.succeed(&accounts);
                *accounts = Arc::new(fresh);
                tracing::info!("the token file was read anew");
            }
            Err(error) => tracing::error!(
                error,
                "the token file cannot be read: what it said before stays in use"
            ),
        }
    }
}

/// What was found in the file.
type Found = Result<Vec<u8>, String>;

/// None when the file is as it was before.
fn look(file: &TokenFile, before: &Found) -> Option<(Found, Result<Accounts, String>)> {
    let found = file.trusted_bytes().map_err(|error| error.to_string());
    if found == *before {
        return None;
    }
    let fresh = found
        .as_deref()
        .map_err(Clone::clone)
        .and_then(|bytes| accounts(file, bytes).map_err(|error| error.to_string()));
    Some((found, fresh))
}

fn accounts(file: &TokenFile, bytes: &[u8]) -> Result<Accounts, TokenFileError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        // Cut off, most likely: nobody would be let in.
        let reason = "it is empty: `sluicegate token new` makes the first token";
        return Err(file.content_error(reason.to_owned()));
    }
    Accounts::new(&file.parse(bytes)?).map_err(|reason| file.content_error(reason))
}
