//! What a command counts while it works, and how it shows it: a live view on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{latency::Latencies, metrics::Totals, rejections::Rejections, trouble::Troubles};

const REDRAW: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Rates of so many looks back are drawn on a terminal.
const HISTORY: usize = 40;

/// Counts over all connections. Relaxed: they are shown, not reckoned with.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Calls, or chunks handed to a stream.
    pub(crate) requests: AtomicU64,
    pub(crate) sent: AtomicU64,
    /// Settled: committed, rejected or known before.
    pub(crate) settled: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) rejections: Rejections,
    latencies: Mutex<Both>,
    pub(crate) troubles: Troubles,
    /// Send no more, wait for the acks and report.
    pub(crate) stop: CancellationToken,
    /// Of the process.
    totals: Arc<Totals>,
}

#[derive(Debug, Default)]
struct Both {
    all: Latencies,
    /// Since the last look.
    recent: Latencies,
}

impl Counters {
    /// What is counted here is counted there as well.
    pub(crate) fn of(totals: &Arc<Totals>) -> Self {
        Self {
            totals: Arc::clone(totals),
            ..Self::default()
        }
    }

    pub(crate) fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) fn add_sent(&self, readings: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.sent.fetch_add(readings, Relaxed);
        self.totals.requests.fetch_add(1, Relaxed);
        self.totals.sent.fetch_add(readings, Relaxed);
    }

    /// So many readings are settled, and some of them were rejected.
    pub(crate) fn acknowledged(&self, settled: u64, rejected: u64) {
        self.settled.fetch_add(settled, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
        self.totals.settled.fetch_add(settled, Relaxed);
        self.totals.rejected.fetch_add(rejected, Relaxed);
    }

    pub(crate) fn add_failed(&self, readings: u64) {
        self.failed.fetch_add(readings, Relaxed);
        self.totals.failed.fetch_add(readings, Relaxed);
    }

    pub(crate) fn add_reconnects(&self, calls: u64) {
        self.reconnects.fetch_add(calls, Relaxed);
        self.totals.reconnects.fetch_add(calls, Relaxed);
    }

    pub(crate) fn record(&self, latency: Duration, readings: u64) {
        self.totals.record(latency, readings);
        let mut both = self.both();
        both.all.record(latency, readings);
        both.recent.record(latency, readings);
    }

    /// All latencies so far.
    pub(crate) fn latencies(&self) -> Latencies {
        self.both().all.clone()
    }

    /// Milliseconds of the median and the slowest since the last call; `None` when nothing was acknowledged.
    fn take_recent_ms(&self) -> Option<(f64, f64)> {
        let mut both = self.both();
        let recent =
            (both.recent.len() > 0).then(|| (both.recent.quantile_ms(0.5), both.recent.max_ms()));
        both.recent.clear();
        recent
    }

    fn both(&self) -> MutexGuard<'_, Both> {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the counters on stderr until it is dropped.
#[derive(Debug)]
pub(crate) struct Display {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Display {
    /// `count` is the total, where it is known.
    pub(crate) fn start(counters: &Arc<Counters>, count: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| new_bar(count));
        let task = tokio::spawn(show(Arc::clone(counters), bar.clone()));
        Self { task, bar }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(count: Option<u64>) -> ProgressBar {
    let (bar, template) = match count {
        Some(count) => (
            ProgressBar::new(count),
            "{bar:30.cyan} {percent:>3}% [{elapsed}, {eta} left]\n{msg}\n{prefix:.green}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner:.cyan} [{elapsed}]\n{msg}\n{prefix:.green}",
        ),
    };
    // The template is fixed. Where NO_COLOR is set, it is drawn without its colours.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

async fn show(counters: Arc<Counters>, bar: Option<ProgressBar>) {
    let started = Instant::now();
    let every = if bar.is_some() { REDRAW } else { PLAIN_EVERY };
    let mut ticks = tokio::time::interval_at(started + every, every);
    let mut before = Seen::at(started);
    let mut rates = Vec::new();
    let mut latencies = Vec::new();
    loop {
        ticks.tick().await;
        let look = counters.look(&mut before);
        let Some(bar) = &bar else {
            match &look.trouble {
                None => eprintln!("{}", look.text),
                Some(trouble) => eprintln!("{}: {trouble}", look.text),
            }
            continue;
        };
        keep(&mut rates, look.rate);
        keep(&mut latencies, look.slowest_ms);
        bar.set_position(before.settled);
        bar.set_message(match look.trouble {
            None => look.text,
            Some(trouble) => format!("{}\n{trouble}", look.text),
        });
        bar.set_prefix(format!(
            "rate {}\nack  {}",
            spark(&rates),
            spark(&latencies)
        ));
    }
}

/// What the look before saw.
#[derive(Debug)]
struct Seen {
    at: Instant,
    settled: u64,
    /// When something was settled last, or nothing waited.
    moved: Instant,
}

impl Seen {
    fn at(now: Instant) -> Self {
        Self {
            at: now,
            settled: 0,
            moved: now,
        }
    }
}

/// What happened since the look before.
#[derive(Debug)]
struct Look {
    text: String,
    /// What goes wrong.
    trouble: Option<String>,
    rate: f64,
    slowest_ms: f64,
}

impl Counters {
    fn look(&self, before: &mut Seen) -> Look {
        let (now, settled) = (Instant::now(), self.settled.load(Relaxed));
        let rate = (settled - before.settled) as f64 / (now - before.at).as_secs_f64();
        let waits = self.sent.load(Relaxed) > settled + self.failed.load(Relaxed);
        if settled > before.settled || !waits {
            before.moved = now;
        }
        (before.at, before.settled) = (now, settled);
        let recent = self.take_recent_ms();
        let stands_still_s = (now - before.moved).as_secs();
        let latency = match recent {
            Some((p50, max)) => format!("ack p50 {p50:.1} ms, max {max:.1} ms"),
            None if stands_still_s > 0 => format!("no ack for {stands_still_s} s"),
            None => "no ack".to_owned(),
        };
        let mut text = format!(
            "{} sent, {} durable, {}/s, {latency}",
            HumanCount(self.sent.load(Relaxed)),
            HumanCount(settled),
            HumanCount(rate as u64),
        );
        for (count, what) in [
            (&self.rejected, "rejected"),
            (&self.failed, "failed"),
            (&self.reconnects, "reconnects"),
        ] {
            let count = count.load(Relaxed);
            if count > 0 {
                text += &format!(", {} {what}", HumanCount(count));
            }
        }
        Look {
            text,
            trouble: self.troubles.first(),
            rate,
            slowest_ms: recent.map_or(0.0, |(_, max)| max),
        }
    }
}

fn keep(history: &mut Vec<f64>, value: f64) {
    if history.len() == HISTORY {
        history.remove(0);
    }
    history.push(value);
}

/// A line of small bars, the highest of which is the largest value.
fn spark(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |value: &f64| BARS[((value / most * 7.0).round() as usize).min(7)];
    values.iter().map(bar).collect()
}

/// Sets the stop flag at the first Ctrl-C; the second one ends the process as usual.
pub(crate) fn stop_at_ctrl_c(counters: &Arc<Counters>) -> JoinHandle<()> {
    let counters = Arc::clone(counters);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            counters.stop.cancel();
            eprintln!("stopping: waiting for acknowledgements, press again to give up");
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_is_the_largest_value() {
        assert_eq!(spark(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(spark(&[0.0, 0.0]), "▁▁");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_tells_of_the_time_since_the_last_one() {
        let counters = Counters::default();
        let mut before = Seen::at(Instant::now());
        counters.add_sent(5_000);
        counters.acknowledged(4_000, 0);
        counters.record(Duration::from_millis(3), 4_000);
        tokio::time::advance(Duration::from_secs(2)).await;
        let look = counters.look(&mut before);
        assert_eq!(
            look.text,
            "5,000 sent, 4,000 durable, 2,000/s, ack p50 3.0 ms, max 3.0 ms"
        );
        counters.acknowledged(500, 20);
        counters.add_failed(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        let look = counters.look(&mut before);
        assert_eq!(
            look.text,
            "5,000 sent, 4,500 durable, 500/s, no ack, 20 rejected, 1 failed"
        );
        assert_eq!((look.rate, look.slowest_ms), (500.0, 0.0));
        assert_eq!(look.trouble, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_tells_for_how_long_nothing_moves_and_why() {
        let counters = Counters::default();
        let mut before = Seen::at(Instant::now());
        counters.add_sent(100);
        counters.add_reconnects(3);
        counters.troubles.note(0, "nobody listens");
        tokio::time::advance(Duration::from_secs(12)).await;
        let look = counters.look(&mut before);
        assert_eq!(
            look.text,
            "100 sent, 0 durable, 0/s, no ack for 12 s, 3 reconnects"
        );
        assert_eq!(look.trouble.as_deref(), Some("nobody listens"));
        // With everything settled, nothing is awaited.
        counters.acknowledged(100, 0);
        counters.troubles.heal(0);
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(5)).await;
            let look = counters.look(&mut before);
            assert!(look.text.contains("/s, no ack, 3 reconnects"), "{look:?}");
            assert_eq!(look.trouble, None);
        }
    }
}
