//! The generator behind the API: its settings, and whether it runs.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use utoipa::ToSchema;

use super::{
    problem::{Kind, Problem},
    running::{Running, Shared},
    settings::Settings,
    stats::Stats,
};
use crate::{
    access::Access,
    error::Error,
    flags::{self, Rate},
    metrics::{Standing, Totals},
    progress::Counters,
    report::Report,
    run::{Mode, RunOptions, named, run_counted},
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
    access: Access,
    journal_dir: Option<PathBuf>,
    /// Of all starts and bursts.
    totals: Arc<Totals>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    activity: Activity,
    /// Of the last start.
    last: Stats,
}

#[derive(Debug)]
enum Activity {
    Idle,
    Running(Running),
    /// Waits for the acknowledgements.
    Stopping(Arc<Shared>),
}

/// How often to send, as one of its two keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Frequency {
    /// The time from one reading to the next.
    #[schema(example = "100ms", pattern = "^[0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d)$")]
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
    #[schema(example = 1000, minimum = 1, maximum = 100_000_000)]
    pub total: u64,
    /// Calls at a time, 1 to 65536; 64 by default.
    #[schema(minimum = 1, maximum = 65_536)]
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// The longest time of the whole burst, up to 10m; 30s by default.
    #[schema(example = "30s", pattern = "^[0-9]+(\\.[0-9]+)?(us|ms|s|m|h|d)$")]
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// The kind of call; unary by default.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// Readings per batch, 1 to 1000000.
    #[schema(minimum = 1, maximum = 1_000_000)]
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
        access: Access,
        journal_dir: Option<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            rates: watch::channel(settings.rate).0,
            inner: Mutex::new(Inner {
                settings,
                activity: Activity::Idle,
                last: Stats::default(),
            }),
            spamming: Mutex::new(()),
            access,
            journal_dir,
            totals: Arc::default(),
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
        match inner.activity {
            Activity::Idle => {}
            Activity::Running(_) => {
                let detail = "Stop it before you start it again.";
                return Err(Problem::new(Kind::AlreadyRunning, detail));
            }
            Activity::Stopping(_) => return Err(stopping()),
        }
        let (access, journal_dir) = (self.access.clone(), self.journal_dir.clone());
        let rates = self.rates.subscribe();
        let settings = inner.settings.clone();
        let running = Running::start(settings, rates, access, journal_dir, &self.totals);
        let stats = running.shared.stats();
        inner.activity = Activity::Running(running);
        Ok(stats)
    }

    pub(super) async fn stop(self: &Arc<Self>) -> Result<Stats, Problem> {
        let running = {
            let mut inner = self.inner.lock().await;
            match std::mem::replace(&mut inner.activity, Activity::Idle) {
                Activity::Running(running) => {
                    inner.activity = Activity::Stopping(Arc::clone(&running.shared));
                    running
                }
                Activity::Idle => {
                    let detail = "Start it before you stop it.";
                    return Err(Problem::new(Kind::NotRunning, detail));
                }
                activity @ Activity::Stopping(_) => {
                    inner.activity = activity;
                    return Err(stopping());
                }
            }
        };
        let generator = Arc::clone(self);
        // A task of its own: who asked for it may hang up before it is done.
        let stopped = tokio::spawn(async move {
            let last = running.stop(STOP_PATIENCE).await;
            let mut inner = generator.inner.lock().await;
            inner.last = last.clone();
            inner.activity = Activity::Idle;
            last
        });
        let failed = |error| Problem::new(Kind::Internal, format!("It did not stop: {error}."));
        stopped.await.map_err(failed)
    }

    pub(super) async fn set_frequency(&self, frequency: &Frequency) -> Result<Settings, Problem> {
        let rate = match (&frequency.timeout, frequency.rate) {
            (Some(timeout), None) => interval(timeout)
                .map_err(|reason| Problem::of(Kind::InvalidBody, "timeout", reason))?,
            (None, Some(rate)) => rate,
            _ => {
                let detail = "Give either timeout, such as \"100ms\", or rate, such as 5000.";
                return Err(Problem::of(Kind::InvalidBody, "timeout", detail));
            }
        };
        let mut inner = self.inner.lock().await;
        inner.settings.rate = rate;
        self.rates.send_replace(rate);
        Ok(inner.settings.clone())
    }

    pub(super) async fn stats(&self) -> Stats {
        let inner = self.inner.lock().await;
        match &inner.activity {
            Activity::Running(running) => running.shared.stats(),
            Activity::Stopping(shared) => shared.stats(),
            Activity::Idle => {
                let mut stats = inner.last.clone();
                stats.target.address.clone_from(&inner.settings.target);
                stats.rate.target = inner.settings.rate.per_second();
                stats
            }
        }
    }

    /// The figures since the process began, for Prometheus.
    pub(super) async fn page(&self) -> String {
        let stats = self.stats().await;
        self.totals.page(Standing {
            running: stats.running,
            target_up: stats.target.reachable == Some(true),
            target_rate: stats.rate.target,
        })
    }

    /// Sends a burst beside whatever runs, and returns its result.
    pub(super) async fn spam(&self, spam: &Spam) -> Result<Report, Problem> {
        let timeout = spam.check()?;
        let Ok(_only) = self.spamming.try_lock() else {
            return Err(Problem::new(
                Kind::Busy,
                "A burst is under way: wait for its end.",
            ));
        };
        let settings = self.settings().await;
        let mut options = named(RunOptions {
            mode: spam.mode,
            rate: Rate::Max,
            count: Some(spam.total),
            duration: Some(timeout),
            call_timeout: Some(timeout),
            connect_timeout: timeout.min(Duration::from_secs(5)),
            concurrency: spam.concurrency,
            batch_size: spam.batch_size,
            ..settings.options(&self.access)
        });
        options.journal = self.journal_dir.as_ref().map(|directory| {
            directory.join(options.stream_id.clone().unwrap_or_default() + ".journal")
        });
        let counters = Arc::new(Counters::of(&self.totals));
        let began = Instant::now();
        let mode = options.mode.name();
        let connections = options.connections.into();
        let burst = Box::pin(run_counted(options, settings.patterns, &counters, false));
        let unavailable = |reason: String| Problem::new(Kind::TargetUnavailable, reason);
        let late = format!("{} did not answer within {}", settings.target, spam.timeout);
        match tokio::time::timeout(timeout + Duration::from_secs(1), burst).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(Error::Usage(reason))) => Err(Problem::new(Kind::InvalidConfig, reason)),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) if counters.sent.load(Relaxed) == 0 => Err(unavailable(late)),
            // What has no answer by now has failed.
            Err(_) => Ok(Report::cut_short(mode, connections, &counters, began, late)),
        }
    }

    /// Ends whatever runs.
    pub(super) async fn close(self: &Arc<Self>) {
        let _ = self.stop().await;
        // Or somebody else has asked for it already.
        while matches!(self.inner.lock().await.activity, Activity::Stopping(_)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn stopping() -> Problem {
    let detail = "It waits for acknowledgements: ask again when it has stopped.";
    Problem::new(Kind::Busy, detail)
}

/// The rate of one reading per interval.
fn interval(text: &str) -> Result<Rate, String> {
    let interval = flags::duration(text).map_err(|reason| format!("timeout: {reason}"))?;
    let rate = 1.0 / interval.as_secs_f64();
    let rate = format!("{rate}").parse();
    rate.map_err(|_| format!("timeout is {text:?}, but must be 10 nanoseconds to 1000s"))
}

impl Spam {
    /// The time that the burst may take, if all of it fits.
    fn check(&self) -> Result<Duration, Problem> {
        let invalid = |name: &str, reason: String| Problem::of(Kind::InvalidBody, name, reason);
        let within = |name, value: u64, most| match (1..=most).contains(&value) {
            true => Ok(()),
            false => Err(invalid(
                name,
                format!("{name} is {value}, but must be 1 to {most}"),
            )),
        };
        within("total", self.total, MAX_SPAM)?;
        within("concurrency", self.concurrency.into(), 65_536)?;
        within("batch_size", self.batch_size.unwrap_or(1).into(), 1_000_000)?;
        let timeout = flags::duration(&self.timeout)
            .map_err(|reason| invalid("timeout", format!("timeout: {reason}")))?;
        match timeout <= MAX_SPAM_TIME {
            true => Ok(timeout),
            false => Err(invalid("timeout", "timeout must be 10m at most".to_owned())),
        }
    }
}
