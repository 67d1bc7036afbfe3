//! The figures of many generators in one.

use comfy_table::CellAlignment;
use serde::Serialize;

use super::client::Answer;
use crate::{
    serve::{State, Stats},
    tables,
};

/// One figure over all generators that answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// The mean.
    pub avg: f64,
    /// The sum.
    pub total: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count();
        if count == 0 {
            return Self::default();
        }
        let total: f64 = values.clone().sum();
        Self {
            min: values.clone().fold(f64::INFINITY, f64::min),
            max: values.fold(f64::NEG_INFINITY, f64::max),
            avg: total / count as f64,
            total,
        }
    }
}

/// A generator and its figures.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// `HOST:PORT`
    pub endpoint: String,
    /// Its figures.
    #[serde(flatten)]
    pub stats: Stats,
}

/// A generator that did not answer.
#[derive(Debug, Clone, Serialize)]
pub struct Missing {
    /// `HOST:PORT`
    pub endpoint: String,
    /// Why.
    pub error: String,
}

/// The figures of a fleet.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Generators that run.
    pub running: usize,
    /// Generators that answered.
    pub answered: usize,
    /// Acknowledged readings per second, now.
    pub rate: Spread,
    /// Calls, or chunks handed to streams.
    pub requests: Spread,
    /// Readings that were sent.
    pub sent: Spread,
    /// Readings that are stored.
    pub acknowledged: Spread,
    /// Readings that the targets rejected.
    pub rejected: Spread,
    /// Readings whose fate is unknown.
    pub failed: Spread,
    /// Seconds since the start.
    pub uptime_s: Spread,
    /// Each generator.
    pub generators: Vec<Member>,
    /// Generators that did not answer.
    pub down: Vec<Missing>,
}

impl Summary {
    pub(super) fn of(answers: Vec<Answer<Stats>>) -> Self {
        let (mut generators, mut down) = (Vec::new(), Vec::new());
        for (endpoint, answer) in answers {
            match answer {
                Ok(stats) => generators.push(Member { endpoint, stats }),
                Err(error) => down.push(Missing { endpoint, error }),
            }
        }
        let spread =
            |figure: fn(&Stats) -> f64| Spread::of(generators.iter().map(|one| figure(&one.stats)));
        Self {
            running: generators.iter().filter(|one| one.stats.running).count(),
            answered: generators.len(),
            rate: spread(|stats| stats.rate.now),
            requests: spread(|stats| stats.requests as f64),
            sent: spread(|stats| stats.sent as f64),
            acknowledged: spread(|stats| stats.acknowledged as f64),
            rejected: spread(|stats| stats.rejected as f64),
            failed: spread(|stats| stats.failed as f64),
            uptime_s: spread(|stats| stats.uptime_s),
            generators,
            down,
        }
    }

    /// All generators, and below them the figures over all.
    pub(super) fn table(&self) -> String {
        let mut each = tables::new();
        each.set_header([
            "generator",
            "state",
            "target/s",
            "rate/s",
            "sent",
            "stored",
            "failed",
            "p99 ms",
            "uptime s",
            "trouble",
        ]);
        for member in &self.generators {
            let stats = &member.stats;
            let state = match stats.state {
                State::Stopped => "stopped",
                State::Connecting => "connecting",
                State::Running => "running",
                State::Stopping => "stopping",
            };
            each.add_row([
                member.endpoint.clone(),
                state.to_owned(),
                stats
                    .rate
                    .target
                    .map_or_else(|| "max".to_owned(), |rate| rate.to_string()),
                format!("{:.0}", stats.rate.now),
                stats.sent.to_string(),
                stats.acknowledged.to_string(),
                stats.failed.to_string(),
                format!("{:.1}", stats.ack_ms.p99),
                format!("{:.1}", stats.uptime_s),
                trouble(stats),
            ]);
        }
        for missing in &self.down {
            let mut row = vec![missing.endpoint.clone(), "down".to_owned()];
            row.resize(9, String::new());
            row.push(missing.error.clone());
            each.add_row(row);
        }
        let mut all = tables::new();
        let of = format!(
            "{} of {} run",
            self.running,
            self.generators.len() + self.down.len()
        );
        all.set_header([of.as_str(), "min", "max", "avg", "total"]);
        for (name, spread, digits) in [
            ("rate/s", &self.rate, 0),
            ("requests", &self.requests, 0),
            ("sent", &self.sent, 0),
            ("stored", &self.acknowledged, 0),
            ("rejected", &self.rejected, 0),
            ("failed", &self.failed, 0),
            ("uptime s", &self.uptime_s, 1),
        ] {
            let figures = [spread.min, spread.max, spread.avg, spread.total];
            let figures = figures.map(|figure| format!("{figure:.digits$}"));
            all.add_row(std::iter::once(name.to_owned()).chain(figures));
        }
        for (table, texts) in [(&mut each, [0, 1, 9]), (&mut all, [0, 0, 0])] {
            for (place, column) in table.column_iter_mut().enumerate() {
                if !texts.contains(&place) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        format!("{each}\n{all}")
    }

    /// For a log.
    pub(super) fn line(&self) -> String {
        format!(
            "{} of {} run, {:.0}/s, {} sent, {} stored, {} failed",
            self.running,
            self.generators.len() + self.down.len(),
            self.rate.total,
            self.sent.total,
            self.acknowledged.total,
            self.failed.total,
        )
    }
}

/// What is wrong with the target, or else what it has most often refused.
fn trouble(stats: &Stats) -> String {
    let refused = || {
        let most = stats.rejections.first();
        most.map(|most| format!("{} rejected: {}", stats.rejected, most.reason))
    };
    let trouble = stats.target.trouble.clone();
    trouble.or_else(refused).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_the_extremes_the_mean_and_the_sum_and_names_who_is_missing() {
        let stats = |sent| Stats {
            running: sent > 10,
            sent,
            ..Stats::default()
        };
        let summary = Summary::of(vec![
            ("a:1".to_owned(), Ok(stats(10))),
            ("a:2".to_owned(), Err("refused".to_owned())),
            ("a:3".to_owned(), Ok(stats(30))),
        ]);
        let expected = Spread {
            min: 10.0,
            max: 30.0,
            avg: 20.0,
            total: 40.0,
        };
        assert_eq!(
            (summary.sent, summary.running, summary.answered),
            (expected, 1, 2)
        );
        assert!(summary.table().contains("a:2") && summary.table().contains("1 of 3 run"));
        assert_eq!(Summary::of(Vec::new()).sent, Spread::default());
    }
}
