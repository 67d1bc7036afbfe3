//! Writes a run's readings to files that LOAD DATA reads, one file per connection: what other ways of loading are
//! measured with.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use chrono::DateTime;
use clap::Args;

use crate::{
    error::Error,
    files,
    run::RunOptions,
    workload::{Workload, WorkloadSpec},
};

/// Settings of `sluicegen export`.
#[derive(Debug, Clone, Args)]
pub struct ExportOptions {
    /// Folder for the files readings-0.tsv, readings-1.tsv and so on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    #[command(flatten)]
    run: RunOptions,
}

/// Writes the files: `id`, `id1`, `id2`, `sensor_type`, `sensor_value`, `ts` (UTC), separated by tabs.
///
/// # Errors
/// When there is no `--count`, or a file cannot be written.
pub fn export(options: &ExportOptions) -> Result<(), Error> {
    let count = options.run.count.ok_or_else(|| {
        Error::Usage("export needs --count: how many readings to write".to_owned())
    })?;
    let patterns = options.run.patterns.resolve()?;
    if patterns.bad > 0.0 {
        return Err(Error::Usage(
            "bad readings cannot be exported: leave out --bad".to_owned(),
        ));
    }
    let spec = options.run.workload(patterns);
    let connections = u64::from(options.run.connections);
    std::fs::create_dir_all(&options.out).map_err(|error| failed(options, &error))?;
    for connection in 0..options.run.connections {
        let share = share_of(count, connections, u64::from(connection));
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
