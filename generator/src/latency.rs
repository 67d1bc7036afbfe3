//! How long readings take from the moment they should have been sent to their durable ack.

use std::{
    io::{self, Write},
    time::Duration,
};

use hdrhistogram::Histogram;

/// Three digits, whatever the range.
const DIGITS: u8 = 3;

/// Latencies in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are within the histogram's range"))
    }
}

impl Latencies {
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn record(&mut self, latency: Duration, readings: u64) {
        let latency_us = u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        // The histogram grows by itself; a value that it cannot hold is recorded as its highest.
        if self.0.record_n(latency_us, readings).is_err() {
            self.0.saturating_record_n(latency_us, readings);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// The whole distribution in milliseconds, in the text form that HdrHistogram's own tools write and plot.
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let ms = |value_us: f64| value_us / 1_000.0;
        writeln!(
            to,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut total = 0;
        for step in self.0.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile());
            write!(to, "{value:>12.3} {quantile:>14.12} {total:>10}")?;
            match quantile < 1.0 {
                true => writeln!(to, " {:>14.2}", 1.0 / (1.0 - quantile))?,
                false => writeln!(to)?,
            }
        }
        let (mean, deviation) = (ms(self.0.mean()), ms(self.0.stdev()));
        writeln!(
            to,
            "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"
        )?;
        writeln!(
            to,
            "#[Max     = {:>12.3}, Total count    = {total:>12}]",
            self.max_ms()
        )
    }

    /// The latency below which this share of readings lies, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_written_whole() {
        let mut latencies = Latencies::default();
        for ms in 1..=1_000 {
            latencies.record(Duration::from_millis(ms), 1);
        }
        let mut text = Vec::new();
        latencies.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.lines()
                .any(|line| line.contains("1.000000000000") && line.contains("1000"))
        );
        assert!(text.ends_with("Total count    =         1000]\n"), "{text}");
    }
}
