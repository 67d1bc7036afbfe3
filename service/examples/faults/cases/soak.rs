//! A long run at 70 % of full rate with a fault every 20 seconds: after every part of it the table is what was
//! acknowledged, and the service's memory and descriptors do not grow. The load comes in parts, so that each is judged
//! and its rows make room.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use mysql_async::prelude::Queryable as _;
use rand::Rng as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    generator::Generator,
    lab::Lab,
    outcome::Outcome,
    process::Usage,
    stack::{Stack, end, service_options, settle},
    verdict::{Verdict, hold},
    wire::{Weather, Wire},
};

const CONNECTIONS: &str = "--connections 2 --series 10000 --unacknowledged-bytes 16000000";
/// The quick form has less to catch up with.
const QUICK_CONNECTIONS: &str = "--connections 2 --series 1000 --unacknowledged-bytes 2000000";
const SHARE_OF_FULL_RATE: f64 = 0.7;
const PART: Duration = Duration::from_secs(120);
const BETWEEN_FAULTS: Duration = Duration::from_secs(20);
/// Slopes of shorter runs are reported and prove nothing: buffers are still finding their size.
const LONG: Duration = Duration::from_secs(600);
const MOST_GROWTH_MIB: f64 = 32.0;
const MOST_GROWTH_DESCRIPTORS: f64 = 16.0;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let quick = lab.scale.quick;
    let length = match quick {
        true => Duration::from_secs(9),
        false => Duration::from_secs(60 * lab.scale.soak_minutes),
    };
    let mut soak = Soak::start(lab).await?;
    let full_rate = soak.full_rate(lab, if quick { 1 } else { 15 }).await?;
    let rate = (full_rate * SHARE_OF_FULL_RATE) as u64;
    let pause = if quick {
        Duration::from_millis(1_200)
    } else {
        BETWEEN_FAULTS
    };
    let began = Instant::now();
    let mut part = 0;
    while began.elapsed() < length {
        part += 1;
        let until = Instant::now() + PART.min(length.saturating_sub(began.elapsed()));
        soak.one_part(lab, part, rate, pause, until).await?;
    }
    let samples = soak.samples;
    end(soak.stack.service).await?;
    soak.stack.schema.drop().await?;
    let memory = slope_per_hour(&samples, |usage| usage.resident_mib);
    let descriptors = slope_per_hour(&samples, |usage| usage.descriptors as f64);
    if length >= LONG {
        let hours = length.as_secs_f64() / 3600.0;
        hold!(
            memory * hours < MOST_GROWTH_MIB,
            "memory grows by {memory} MiB per hour"
        );
        hold!(
            descriptors * hours < MOST_GROWTH_DESCRIPTORS,
            "descriptors grow by {descriptors} per hour"
        );
    }
    let last = samples.last().map_or(Usage::default(), |sample| sample.1);
    Ok(Outcome::of_verdict(soak.faults, soak.verdict)
        .figure("length_s", length.as_secs_f64())
        .figure("full_rate_readings_per_s", full_rate)
        .figure("rate_readings_per_s", rate as f64)
        .figure("memory_slope_mib_per_h", memory)
        .figure("descriptor_slope_per_h", descriptors)
        .figure("peak_mib", last.peak_mib)
        .figure("descriptors", last.descriptors as f64))
}

fn connections(lab: &Lab) -> &'static str {
    if lab.scale.quick {
        QUICK_CONNECTIONS
    } else {
        CONNECTIONS
    }
}

struct Soak {
    stack: Stack,
    /// Between the service and the database.
    back: Wire,
    began: Instant,
    samples: Vec<(Duration, Usage)>,
    verdict: Verdict,
    faults: u32,
}

impl Soak {
    async fn start(lab: &mut Lab) -> Result<Self> {
        let schema = lab.server.schema().await?;
        let back = Wire::start(SocketAddr::from(([127, 0, 0, 1], schema.port))).await?;
        let options = service_options(lab, schema.service_url(back.port), &[]);
        Ok(Self {
            stack: Stack::start_on(schema, options).await?,
            back,
            began: Instant::now(),
            samples: Vec::new(),
            verdict: Verdict::none(),
            faults: 0,
        })
    }

    /// What goes through without faults, readings per second.
    async fn full_rate(&mut self, lab: &Lab, seconds: u64) -> Result<f64> {
        let flags = format!("--rate max --duration {seconds}s {}", connections(lab));
        let generator = self.stack.generator_named(lab, "full", &flags).await?;
        let (report, journal) = generator.ended().await?;
        let _ = std::fs::remove_file(journal);
        self.make_room().await?;
        Ok(report.rows_per_s)
    }

    async fn one_part(
        &mut self,
        lab: &mut Lab,
        part: u32,
        rate: u64,
        pause: Duration,
        until: Instant,
    ) -> Result<()> {
        let flags = format!("--rate {rate} --seed {part} {}", connections(lab));
        let name = format!("part-{part}");
        let mut generator = self.stack.generator_named(lab, &name, &flags).await?;
        let mut next_fault = Instant::now() + pause;
        while Instant::now() < until {
            sleep(Duration::from_millis(500)).await;
            self.samples
                .push((self.began.elapsed(), self.stack.service.usage()?));
            if Instant::now() >= next_fault {
                self.fault(lab).await?;
                generator.progress().await?;
                next_fault += pause;
            }
        }
        self.stack.service.still_runs()?;
        self.judge(lab, generator).await
    }

    /// The faults take turns.
    async fn fault(&mut self, lab: &mut Lab) -> Result<()> {
        let second = Duration::from_millis(lab.rng.random_range(500..1_500));
        match self.faults % 7 {
            0 => self.stack.front.reset(),
            1 => self.back.reset(),
            2 => {
                self.stack.front.set(Weather::Stalled);
                sleep(second).await;
                self.stack.front.set(Weather::Fair);
            }
            3 => {
                lab.server.signal(Signal::STOP)?;
                sleep(second).await;
                lab.server.signal(Signal::CONT)?;
            }
            4 => {
                lab.server.kill().await?;
                lab.server.restart().await?;
            }
            5 => {
                let mut conn = self.stack.schema.connect().await?;
                conn.query_drop("LOCK TABLES sensor_readings WRITE").await?;
                sleep(second).await;
                conn.query_drop("UNLOCK TABLES").await?;
            }
            _ => {
                self.back
                    .set(Weather::CutAfter(lab.rng.random_range(1..1_000_000)));
                sleep(second).await;
                self.back.set(Weather::Fair);
            }
        }
        self.faults += 1;
        Ok(())
    }

    /// Holds this part to its journal, and makes room for the next one.
    async fn judge(&mut self, lab: &Lab, generator: Generator) -> Result<()> {
        let journal = generator.journal.path.clone();
        let services = [&self.stack.service];
        let judged = settle(lab, &self.stack.schema, &services, vec![generator]).await?;
        self.verdict.add(&judged.verdict);
        std::fs::remove_file(journal)?;
        self.make_room().await
    }

    /// Removes the rows, and what the ledger counts of them.
    async fn make_room(&self) -> Result<()> {
        let readiness = self.stack.service.readiness().await?;
        ensure!(readiness.books.in_flight == 0, "readings are in flight");
        self.stack
            .schema
            .run("TRUNCATE TABLE sensor_readings")
            .await?;
        let forget = "UPDATE ingest_streams SET committed = 0, committed_seq = IF(stream_id LIKE 'lane:%', committed_seq, 0)";
        self.stack.schema.run(forget).await
    }
}

/// The slope of the straight line through the samples, the first fifth left out: that is warming up.
fn slope_per_hour(samples: &[(Duration, Usage)], value: impl Fn(&Usage) -> f64) -> f64 {
    let samples = &samples[samples.len() / 5..];
    let points: Vec<(f64, f64)> = samples
        .iter()
        .map(|(at, usage)| (at.as_secs_f64() / 3600.0, value(usage)))
        .collect();
    let count = points.len().max(1) as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}
