//! What a command tells while it works: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::{task::JoinHandle, time::Instant};

const REDRAW: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Counts over all connections. Relaxed: they are shown, not reckoned with.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) durable: AtomicU64,
    /// Set by Ctrl-C: send no more, wait for the acks and report.
    pub(crate) stop: AtomicBool,
}

impl Counters {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn add_sent(&self, readings: u64) {
        self.sent.fetch_add(readings, Ordering::Relaxed);
    }

    pub(crate) fn add_durable(&self, readings: u64) {
        self.durable.fetch_add(readings, Ordering::Relaxed);
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
            "{bar:30} {percent:>3}% {msg} [{elapsed}, {eta} left]",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} [{elapsed}]"),
    };
    // The template is fixed and without colours, so that NO_COLOR holds by itself.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

async fn show(counters: Arc<Counters>, bar: Option<ProgressBar>) {
    let started = Instant::now();
    let every = if bar.is_some() { REDRAW } else { PLAIN_EVERY };
    let mut ticks = tokio::time::interval_at(started + every, every);
    loop {
        ticks.tick().await;
        let durable = counters.durable.load(Ordering::Relaxed);
        let text = format!(
            "{} sent, {} durable, {}/s",
            HumanCount(counters.sent.load(Ordering::Relaxed)),
            HumanCount(durable),
            HumanCount((durable as f64 / started.elapsed().as_secs_f64()) as u64),
        );
        match &bar {
            Some(bar) => {
                bar.set_position(durable);
                bar.set_message(text);
            }
            None => eprintln!("{text}"),
        }
    }
}

/// Sets the stop flag at the first Ctrl-C; the second one ends the process as usual.
pub(crate) fn stop_at_ctrl_c(counters: &Arc<Counters>) -> JoinHandle<()> {
    let counters = Arc::clone(counters);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            counters.stop.store(true, Ordering::Relaxed);
            eprintln!("stopping: waiting for acknowledgements, press again to give up");
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    })
}
