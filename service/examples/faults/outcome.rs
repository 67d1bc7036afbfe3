//! What a case says when everything held: the judge's verdict, and figures; or why it cannot run here.

use std::{collections::BTreeMap, time::Duration};

use crate::{stack::Judged, verdict::Verdict};

/// What a case found when everything held.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) faults: u32,
    pub(crate) verdict: Verdict,
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Outcome {
    pub(crate) fn of(faults: u32, judged: Judged) -> Self {
        Self::of_verdict(faults, judged.verdict).figure("reconnects", judged.reconnects as f64)
    }

    pub(crate) fn of_verdict(faults: u32, verdict: Verdict) -> Self {
        Self {
            faults,
            verdict,
            figures: BTreeMap::new(),
        }
    }

    /// Adds a figure; its name ends with the unit.
    pub(crate) fn figure(mut self, name: &str, value: f64) -> Self {
        let rounded = (value * 1000.0).round() / 1000.0;
        self.figures.insert(name.to_owned(), rounded);
        self
    }
}

/// Why a case cannot run on this machine: it has neither held nor failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skipped(pub(crate) &'static str);

/// Times of one kind.
#[derive(Debug, Default)]
pub(crate) struct Millis(Vec<f64>);

impl Millis {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1000.0);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The smallest time that a share of all does not exceed, milliseconds; 0 where there is none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}
