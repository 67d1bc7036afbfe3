//! The generator behind the API: its settings, and whether it runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use utoipa::ToSchema;

use super::{
    problem::{Kind, Problem},
    running::Running,
    settings::Settings,
    stats::Stats,
};
use crate::{
    error::Error,
    flags::{self, Rate},
    progress::Counters,
    report::Report,
    run::{Mode, RunOptions, run_counted},
};

/// How long `stop` waits for acknowledgements.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const MAX_SPAM: u64 = 100_000_000;
const MAX_SPAM_TIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Generator {
    inner: Mutex<Inner>,
    rates: watch::Sender<Rate>,
    spamming: Mutex<()>,
    token: Option<String>,
    journal_dir: Option<PathBuf>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    running: Option<Running>,
    /// Of the last start.
    last: Stats,
}

/// How often to send, as one of its two keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Frequency {
    /// The time from one reading to the next.
    #[schema(example = "100ms")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Readings per second, or "max".
    #[schema(value_type = Option<serde_json::Value>, example = json!(5000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// A bounded burst.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Spam {
    /// Readings, 1 to 100000000.
    #[schema(example = 1000)]
    pub total: u64,
    /// Calls at a time, 1 to 65536; 64 by default.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// The longest time of the whole burst, up to 10m; 30s by default.
    #[schema(example = "30s")]
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// The kind of call; unary by default.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// Readings per batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
}

fn default_concurrency() -> u32 {
    64
}

fn default_timeout() -> String {
    "30s".to_owned()
}

fn default_mode() -> Mode {
    Mode::Unary
}

impl Generator {
    pub(super) fn new(
        settings: Settings,
        token: Option<String>,
        journal_dir: Option<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            rates: watch::channel(settings.rate).0,
            inner: Mutex::new(Inner {
                settings,
                running: None,
                last: Stats::default(),
            }),
            spamming: Mutex::new(()),
            token,
            journal_dir,
        })
    }

    pub(super) async fn settings(&self) -> Settings {
        self.inner.lock().await.settings.clone()
    }

    /// Takes effect with the next start; a rate at once.
    pub(super) async fn configure(&self, change: serde_json::Value) -> Result<Settings, Problem> {
        let mut inner = self.inner.lock().await;
        inner.settings = inner.settings.merged(change)?;
        self.rates.send_replace(inner.settings.rate);
        Ok(inner.settings.clone())
    }

    pub(super) async fn start(&self) -> Result<Stats, Problem> {
        let mut inner = self.inner.lock().await;
        if inner.running.is_some() {
            return Err(Problem::new(
                Kind::AlreadyRunning,
                "Stop it before you start it again.",
            ));
        }
        let (token, journal_dir) = (self.token.clone(), self.journal_dir.clone());
        let running = Running::start(
            inner.settings.clone(),
            self.rates.subscribe(),
            token,
            journal_dir,
        );
        let stats = running.stats();
        inner.running = Some(running);
        Ok(stats)
    }

    pub(super) async fn stop(&self) -> Result<Stats, Problem> {
        let mut inner = self.inner.lock().await;
        let Some(running) = inner.running.take() else {
            return Err(Problem::new(
                Kind::NotRunning,
                "Start it before you stop it.",
            ));
        };
        inner.last = running.stop(STOP_PATIENCE).await;
        Ok(inner.last.clone())
    }

    pub(super) async fn set_frequency(&self, frequency: &Frequency) -> Result<Settings, Problem> {
        let invalid = |reason: &str| Problem::new(Kind::InvalidBody, reason);
        let rate = match (&frequency.timeout, frequency.rate) {
            (Some(timeout), None) => {
                let interval = flags::duration(timeout).map_err(|reason| invalid(&reason))?;
                let rate = format!("{}", 1.0 / interval.as_secs_f64());
                rate.parse().map_err(|reason: String| invalid(&reason))?
            }
            (None, Some(rate)) => rate,
            _ => {
                return Err(invalid(
                    "Give either timeout, such as \"100ms\", or rate, such as 5000.",
                ));
            }
        };
        let mut inner = self.inner.lock().await;
        inner.settings.rate = rate;
        self.rates.send_replace(rate);
        Ok(inner.settings.clone())
    }

    pub(super) async fn stats(&self) -> Stats {
        let inner = self.inner.lock().await;
        match &inner.running {
            Some(running) => running.stats(),
            None => {
                let mut stats = inner.last.clone();
                stats.target.address.clone_from(&inner.settings.target);
                stats.rate.target = inner.settings.rate.per_second();
                stats
            }
        }
    }

    /// Sends a burst beside whatever runs, and returns its result.
    pub(super) async fn spam(&self, spam: &Spam) -> Result<Report, Problem> {
        let invalid = |reason: String| Problem::new(Kind::InvalidBody, reason);
        let timeout = flags::duration(&spam.timeout)
            .map_err(|reason| invalid(format!("timeout: {reason}")))?;
        if !(1..=MAX_SPAM).contains(&spam.total) {
            return Err(invalid(format!("total must be 1 to {MAX_SPAM}")));
        }
        if !(1..=65_536).contains(&spam.concurrency) || spam.batch_size == Some(0) {
            return Err(invalid(
                "concurrency must be 1 to 65536, and batch_size at least 1".to_owned(),
            ));
        }
        if timeout > MAX_SPAM_TIME {
            return Err(invalid("timeout must be 10m at most".to_owned()));
        }
        let Ok(_only) = self.spamming.try_lock() else {
            return Err(Problem::new(
                Kind::Busy,
                "A burst is under way: wait for its end.",
            ));
        };
        let settings = self.settings().await;
        let options = RunOptions {
            mode: spam.mode,
            rate: Rate::Max,
            count: Some(spam.total),
            duration: Some(timeout),
            call_timeout: Some(timeout),
            connect_timeout: timeout.min(Duration::from_secs(5)),
            concurrency: spam.concurrency,
            batch_size: spam.batch_size,
            ..settings.options(self.token.as_ref())
        };
        let counters = Arc::new(Counters::default());
        let burst = Box::pin(run_counted(options, settings.patterns, &counters, false));
        let unavailable = |reason: String| Problem::new(Kind::TargetUnavailable, reason);
        match tokio::time::timeout(timeout + Duration::from_secs(1), burst).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(Error::Usage(reason))) => Err(invalid(reason)),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!(
                "{} did not answer within {}.",
                settings.target, spam.timeout
            ))),
        }
    }

    /// Ends whatever runs.
    pub(super) async fn close(&self) {
        let _ = self.stop().await;
    }
}
