//! Writes a run's readings to files that LOAD DATA reads, one file per connection: what other ways of loading are
//! measured with.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use chrono::DateTime;
use clap::Args;

use crate::{
    error::Error,
    files,
    flags::{self, Rate},
    patterns::PatternFlags,
    run::RunOptions,
    workload::{Workload, WorkloadSpec},
};

/// Settings of `sluicegen export`.
#[derive(Debug, Clone, Args)]
pub struct ExportOptions {
    /// Folder for the files readings-0.tsv, readings-1.tsv and so on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many readings, such as 2000, 10k or 1e6
    #[arg(long, value_name = "N", value_parser = flags::count)]
    count: u64,
    /// Connections of the run; each has a file of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Readings per second of the run: the pace of the timestamps
    #[arg(long, value_name = "N|max", default_value = "max")]
    rate: Rate,
    // Last: what follows stands below their heading in the help.
    #[command(flatten)]
    patterns: PatternFlags,
    /// Distance of the timestamps of readings that follow each other [default: that of --rate; 5us without a rate]
    #[arg(long, value_name = "TIME", value_parser = flags::duration)]
    time_step: Option<Duration>,
}

impl ExportOptions {
    /// What a run with the same flags would send.
    fn workload(&self) -> Result<WorkloadSpec, Error> {
        let patterns = self.patterns.resolve()?;
        if patterns.bad > 0.0 {
            return Err(Error::Usage(
                "bad readings cannot be exported: leave out --bad".to_owned(),
            ));
        }
        let run = RunOptions {
            connections: self.connections,
            rate: self.rate,
            time_step: self.time_step,
            ..RunOptions::default()
        };
        Ok(run.workload(patterns))
    }
}

/// Writes the files: `id`, `id1`, `id2`, `sensor_type`, `sensor_value`, `ts` (UTC), separated by tabs.
///
/// # Errors
/// When a flag does not fit, or a file cannot be written.
pub fn export(options: &ExportOptions) -> Result<(), Error> {
    let spec = options.workload()?;
    let connections = u64::from(options.connections);
    std::fs::create_dir_all(&options.out).map_err(|error| failed(options, &error))?;
    for connection in 0..options.connections {
        let share = share_of(options.count, connections, u64::from(connection));
        write_file(options, &spec, connection, share).map_err(|error| failed(options, &error))?;
    }
    Ok(())
}

/// As `run` divides its count: the first connections take the remainder.
fn share_of(count: u64, connections: u64, connection: u64) -> u64 {
    count / connections + u64::from(connection < count % connections)
}

fn write_file(
    options: &ExportOptions,
    spec: &WorkloadSpec,
    connection: u16,
    readings: u64,
) -> io::Result<()> {
    let path = options.out.join(format!("readings-{connection}.tsv"));
    let mut file = BufWriter::with_capacity(1 << 20, files::create(&path)?);
    let mut workload = Workload::new(spec, connection);
    let series: Vec<String> = workload
        .series()
        .iter()
        .map(|one| format!("{}\t{}\t{}", one.id1, one.id2, one.sensor_type))
        .collect();
    for place in 0..readings {
        let made = workload.next();
        let id = place * u64::from(spec.connections) + u64::from(connection) + 1;
        let at = DateTime::from_timestamp_micros(made.timestamp_us).unwrap_or_default();
        let at = at.format("%Y-%m-%d %H:%M:%S%.6f");
        writeln!(file, "{id}\t{}\t{}\t{at}", series[made.series], made.value)?;
    }
    file.flush()
}

fn failed(options: &ExportOptions, error: &io::Error) -> Error {
    Error::Usage(format!("{}: {error}", options.out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let shares: Vec<u64> = (0..3)
            .map(|connection| share_of(10, 3, connection))
            .collect();
        assert_eq!(shares, [4, 3, 3]);
    }
}
