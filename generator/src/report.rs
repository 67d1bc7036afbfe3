//! The outcome of a command: a table for people, JSON for scripts.

use std::{process::ExitCode, sync::atomic::Ordering::Relaxed, time::Duration};

use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{error::Error, latency::Latencies, progress::Counters, rejections::Rejection, tables};

/// What one connection, or all of them together, did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) books: Books,
    pub(crate) reconnects: u64,
    /// What ended connections early.
    pub(crate) errors: Vec<String>,
}

/// Where every reading went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Books {
    /// Readings that the generator handed over.
    pub sent: u64,
    /// Readings that the service accounted for.
    pub received: u64,
    /// Readings that are stored.
    pub committed: u64,
    /// Readings that the service refused one by one.
    pub rejected: u64,
    /// Readings that the service had already.
    pub duplicate: u64,
    /// Readings whose fate is unknown, because a call failed for good.
    pub failed: u64,
}

impl Books {
    /// True when no reading is missing and none came from nowhere.
    #[must_use]
    pub fn balance(&self) -> bool {
        let settled = self.committed + self.rejected + self.duplicate;
        self.sent == settled + self.failed && self.received == settled
    }
}

impl Tally {
    pub(crate) fn merge(&mut self, other: Self) {
        let (books, others) = (&mut self.books, other.books);
        books.sent += others.sent;
        books.received += others.received;
        books.committed += others.committed;
        books.rejected += others.rejected;
        books.duplicate += others.duplicate;
        books.failed += others.failed;
        self.reconnects += other.reconnects;
        self.errors.extend(other.errors);
    }
}

/// Times to the durable ack in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AckMs {
    /// Half of all readings.
    pub p50: f64,
    /// 90 % of them.
    pub p90: f64,
    /// 99 % of them.
    pub p99: f64,
    /// 99.9 % of them.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl AckMs {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            p50: latencies.quantile_ms(0.5),
            p90: latencies.quantile_ms(0.9),
            p99: latencies.quantile_ms(0.99),
            p999: latencies.quantile_ms(0.999),
            max: latencies.max_ms(),
        }
    }
}

/// The result of `run` and `replay`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The kind of call: `stream`, `stream-acked`, `batch` or `unary`.
    pub mode: String,
    /// Connections to the service.
    pub connections: usize,
    /// Where every reading went.
    #[serde(flatten)]
    pub books: Books,
    /// CSV cells without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// Readings at the beginning of a CSV file that were not sent, because the stream had as many already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_committed: Option<u64>,
    /// What was left out of a CSV file, cut or decided, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Attempts to go on, or to connect again, after a failure.
    pub reconnects: u64,
    /// The last failure of a connection, also of one that went on; null when there was none.
    pub last_failure: Option<String>,
    /// From the first reading to the last ack.
    pub seconds: f64,
    /// Committed readings per second.
    pub rows_per_s: f64,
    /// Readings handed over per second, from the first to the last one.
    pub sent_per_s: f64,
    /// What `--rate` asked for; null for max.
    pub target_per_s: Option<f64>,
    /// From the intended send time to the durable ack.
    pub ack_ms: AckMs,
    /// CPU time of the generator per reading, in microseconds; null where the system does not tell.
    pub cpu_us_per_reading: Option<f64>,
    /// Why readings were rejected, in the service's words; the most frequent reason first.
    pub rejections: Vec<Rejection>,
    /// What ended connections early.
    pub errors: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        mode: String,
        connections: usize,
        tally: Tally,
        counters: &Counters,
        times: &Times,
    ) -> Self {
        let per_second = |readings: u64, time: Duration| match time.as_secs_f64() {
            0.0 => 0.0,
            seconds => readings as f64 / seconds,
        };
        Self {
            mode,
            connections,
            books: tally.books,
            skipped: None,
            skipped_committed: None,
            notes: Vec::new(),
            reconnects: tally.reconnects,
            last_failure: counters.troubles.last(),
            seconds: times.total.as_secs_f64(),
            rows_per_s: per_second(tally.books.committed, times.total),
            sent_per_s: per_second(tally.books.sent, times.sending),
            target_per_s: None,
            ack_ms: AckMs::of(&counters.latencies()),
            cpu_us_per_reading: times
                .cpu
                .map(|cpu| cpu.as_secs_f64() * 1e6 / tally.books.sent.max(1) as f64),
            rejections: counters.rejections.list(),
            errors: tally.errors,
        }
    }

    /// Of a run that was given up: what has no answer has failed.
    pub(crate) fn cut_short(
        mode: String,
        connections: usize,
        counters: &Counters,
        began: Instant,
        error: String,
    ) -> Self {
        let (settled, rejected) = (
            counters.settled.load(Relaxed),
            counters.rejected.load(Relaxed),
        );
        let sent = counters.sent.load(Relaxed).max(settled);
        let books = Books {
            sent,
            received: settled,
            committed: settled.saturating_sub(rejected),
            rejected,
            duplicate: 0,
            failed: sent - settled,
        };
        let tally = Tally {
            books,
            reconnects: counters.reconnects.load(Relaxed),
            errors: vec![error],
        };
        let times = Times {
            total: began.elapsed(),
            sending: began.elapsed(),
            cpu: None,
        };
        Self::new(mode, connections, tally, counters, &times)
    }

    /// 0 when every reading is accounted for and no connection was lost for good, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        let accounted_for = self.books.balance() && self.books.failed == 0;
        ExitCode::from(u8::from(!accounted_for || !self.errors.is_empty()))
    }

    /// Writes the report to stdout.
    ///
    /// # Errors
    /// When it cannot be made into JSON.
    pub fn print(&self, json: bool) -> Result<(), Error> {
        if json {
            let text = serde_json::to_string_pretty(self)
                .map_err(|error| Error::Report(error.to_string()))?;
            println!("{text}");
        } else {
            println!("{}", self.table());
            for rejection in &self.rejections {
                let readings = HumanCount(rejection.readings);
                eprintln!("sluicegen: {readings} rejected: {}", rejection.reason);
            }
            for error in &self.errors {
                eprintln!("sluicegen: {error}");
            }
            // What ended a connection has been said.
            if let Some(failure) = &self.last_failure
                && !self.errors.iter().any(|error| error.contains(failure))
            {
                eprintln!("sluicegen: the last failure, which was overcome: {failure}");
            }
            if self.books.failed > 0 {
                let readings = HumanCount(self.books.failed);
                eprintln!("sluicegen: {readings} are not accounted for");
            }
            if !self.books.balance() {
                eprintln!("sluicegen: the books do not balance");
            }
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let count = |count: u64| HumanCount(count).to_string();
        let mut rows = vec![
            ("mode", format!("{} x {}", self.mode, self.connections)),
            ("sent", count(self.books.sent)),
            ("received", count(self.books.received)),
            ("committed", count(self.books.committed)),
            ("rejected", count(self.books.rejected)),
            ("duplicate", count(self.books.duplicate)),
            ("failed", count(self.books.failed)),
        ];
        if let Some(skipped) = self.skipped {
            rows.push(("cells without a value", count(skipped)));
        }
        if let Some(skipped) = self.skipped_committed {
            rows.push(("there already", count(skipped)));
        }
        if let Some(target) = self.target_per_s {
            let share = self.sent_per_s / target * 100.0;
            let text = format!("{} of {} ({share:.2} %)", self.sent_per_s as u64, target);
            rows.push(("sent/s of target", text));
        }
        rows.extend([
            ("reconnects", count(self.reconnects)),
            ("seconds", format!("{:.3}", self.seconds)),
            ("rows/s", count(self.rows_per_s as u64)),
            ("ack p50", format!("{:.2} ms", self.ack_ms.p50)),
            ("ack p90", format!("{:.2} ms", self.ack_ms.p90)),
            ("ack p99", format!("{:.2} ms", self.ack_ms.p99)),
            ("ack p99.9", format!("{:.2} ms", self.ack_ms.p999)),
            ("ack max", format!("{:.2} ms", self.ack_ms.max)),
        ]);
        if let Some(cpu_us) = self.cpu_us_per_reading {
            rows.push(("generator CPU", format!("{cpu_us:.2} us/reading")));
        }
        let mut table = tables::new();
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// How long a run took.
#[derive(Debug)]
pub(crate) struct Times {
    /// From the first reading to the last ack.
    pub(crate) total: Duration,
    /// From the first reading to the last one.
    pub(crate) sending: Duration,
    /// CPU time of this process meanwhile.
    pub(crate) cpu: Option<Duration>,
}

/// User and system time of this process so far. Linux reports it in ticks of 10 ms.
pub(crate) fn process_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may contain blanks: count from behind it. utime and stime are the 14th
    // and 15th field of proc(5), so the 12th and 13th from here.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}
