//! One start of a generator: from `start` to `stop`, over every failure of the target.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    settings::Settings,
    stats::{RateStats, State, Stats, TargetStats},
};
use crate::{
    access::Access,
    flags::Rate,
    journal::Writer,
    metrics::Totals,
    progress::Counters,
    report::AckMs,
    run::{Load, RunOptions, connect, measure, named},
};

/// Between one attempt to reach the target and the next.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time over which the rate of now is taken.
const NOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    work: JoinHandle<()>,
    watch: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: Settings,
    access: Access,
    journal_dir: Option<PathBuf>,
    rates: watch::Receiver<Rate>,
    counters: Arc<Counters>,
    started: Instant,
    view: Mutex<View>,
    attempts: AtomicU64,
}

#[derive(Debug, Default)]
struct View {
    connected: bool,
    /// What the last probe said.
    reachable: Option<bool>,
    unreachable_because: Option<String>,
    /// What ended the last attempt.
    trouble: Option<String>,
    /// Settled readings at the last looks.
    looks: VecDeque<(Option<Instant>, u64)>,
}

impl Running {
    pub(super) fn start(
        settings: Settings,
        rates: watch::Receiver<Rate>,
        access: Access,
        journal_dir: Option<PathBuf>,
        totals: &Arc<Totals>,
    ) -> Self {
        let shared = Arc::new(Shared {
            settings,
            access,
            journal_dir,
            rates,
            counters: Arc::new(Counters::of(totals)),
            started: Instant::now(),
            view: Mutex::default(),
            attempts: AtomicU64::new(0),
        });
        Self {
            work: tokio::spawn(Arc::clone(&shared).work()),
            watch: tokio::spawn(Arc::clone(&shared).watch()),
            shared,
        }
    }

    /// Sends no more, waits for acknowledgements as long as `patience` allows, and returns the last figures.
    pub(super) async fn stop(mut self, patience: Duration) -> Stats {
        self.shared.counters.stop.cancel();
        if timeout(patience, &mut self.work).await.is_err() {
            self.work.abort();
            let _ = (&mut self.work).await;
        }
        let mut stats = self.shared.stats();
        // What has no answer by now has failed.
        let totals = self.shared.counters.totals();
        totals.failed.fetch_add(stats.in_flight, Relaxed);
        stats.failed += stats.in_flight;
        (stats.in_flight, stats.running, stats.state) = (0, false, State::Stopped);
        (stats.rate.now, stats.target.reachable) = (0.0, None);
        stats
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.abort();
        self.watch.abort();
    }
}

impl Shared {
    async fn work(self: Arc<Self>) {
        while !self.counters.stopped() {
            let trouble = tokio::select! {
                biased;
                trouble = Box::pin(self.attempt()) => trouble,
                // A connection that is still being made is given up at once.
                () = self.stopped_unconnected() => return,
            };
            self.view().connected = false;
            if let Some(trouble) = trouble {
                self.view().trouble = Some(trouble);
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                () = self.counters.stop.cancelled() => {}
            }
        }
    }

    async fn stopped_unconnected(&self) {
        self.counters.stop.cancelled().await;
        if self.view().connected {
            std::future::pending().await
        }
    }

    /// Sends until the end, and says what ended it early.
    async fn attempt(&self) -> Option<String> {
        let options = RunOptions {
            connect_timeout: CONNECT_TIMEOUT,
            // Without an end.
            duration: Some(Duration::from_secs(10 * 365 * 86_400)),
            ..self.settings.options(&self.access)
        };
        let options = Arc::new(named(options));
        let mut load = Load {
            spec: Arc::new(options.workload(self.settings.patterns.clone())),
            options,
            counters: Arc::clone(&self.counters),
            rates: self.rates.clone(),
            journal: None,
            live: self.settings.patterns.start_time.is_none(),
        };
        let connected = match connect(&load.options).await {
            Ok(connected) => connected,
            Err(error) => return Some(error.to_string()),
        };
        if let Some(directory) = &self.journal_dir {
            let name = load.options.stream_id.clone().unwrap_or_default() + ".journal";
            match Writer::create(&directory.join(name), &load.header()) {
                Ok(writer) => load.journal = Some(writer),
                Err(error) => return Some(error.to_string()),
            }
        }
        {
            let mut view = self.view();
            view.connected = true;
            // The first connection heals what was before it.
            view.trouble = None;
        }
        if self.attempts.fetch_add(1, Relaxed) > 0 {
            self.counters.totals().reconnects.fetch_add(1, Relaxed);
        }
        let (tally, _) = measure(&load, connected).await;
        tally.errors.into_iter().next()
    }

    /// Keeps an eye on the rate and on the target.
    async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut probed: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let settled = self.counters.settled.load(Relaxed);
            {
                let mut view = self.view();
                view.looks.push_back((Some(Instant::now()), settled));
                let most = (NOW.as_millis() / LOOK_EVERY.as_millis()) as usize + 1;
                if view.looks.len() > most {
                    view.looks.pop_front();
                }
            }
            if probed.is_none_or(|probed| probed.elapsed() > NOW) {
                probed = Some(Instant::now());
                let reached = reach(&self.settings.target).await;
                let mut view = self.view();
                view.reachable = Some(reached.is_ok());
                view.unreachable_because = reached.err();
            }
        }
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        // Read in this order, so that no more is settled than was sent.
        let (failed, rejected, settled) = (
            count(&counters.failed),
            count(&counters.rejected),
            count(&counters.settled),
        );
        let sent = count(&counters.sent);
        let uptime_s = self.started.elapsed().as_secs_f64();
        let view = self.view();
        // In the midst, too, when no connection goes on.
        let connected =
            view.connected && counters.troubles.count() < usize::from(self.settings.connections);
        let state = match (counters.stopped(), connected) {
            (true, _) => State::Stopping,
            (false, true) => State::Running,
            (false, false) => State::Connecting,
        };
        let now = match (view.looks.front(), view.looks.back()) {
            (Some((Some(first), from)), Some((Some(last), to))) if first < last => {
                (to - from) as f64 / (*last - *first).as_secs_f64()
            }
            _ => 0.0,
        };
        Stats {
            running: true,
            state,
            target: TargetStats {
                address: self.settings.target.clone(),
                reachable: view.reachable,
                trouble: view
                    .unreachable_because
                    .clone()
                    .or_else(|| view.trouble.clone())
                    .or_else(|| counters.troubles.first()),
            },
            requests: count(&counters.requests),
            sent,
            acknowledged: settled.saturating_sub(rejected),
            rejected,
            rejections: counters.rejections.list(),
            failed,
            in_flight: sent.saturating_sub(settled + failed),
            reconnects: count(&counters.reconnects) + count(&self.attempts).saturating_sub(1),
            rate: RateStats {
                target: self.rates.borrow().per_second(),
                now,
                overall: settled as f64 / uptime_s.max(f64::MIN_POSITIVE),
            },
            uptime_s,
            ack_ms: AckMs::of(&counters.latencies()),
        }
    }
}

/// Whether something listens at the target.
async fn reach(target: &str) -> Result<(), String> {
    let uri: warp::http::Uri = target
        .parse()
        .map_err(|_| "the target is no address".to_owned())?;
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let failed = |reason: String| format!("{target} cannot be reached: {reason}");
    match timeout(NOW, TcpStream::connect((host, port))).await {
        // Where nobody listens on a port of this machine that is handed out to clients, too, a socket can meet itself.
        Ok(Ok(socket)) if socket.local_addr().ok() == socket.peer_addr().ok() => {
            Err(failed("nobody listens".to_owned()))
        }
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer".to_owned())),
    }
}
