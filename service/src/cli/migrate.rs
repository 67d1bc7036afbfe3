//! `sluicegate migrate`: makes tables, and moves readings into another layout.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::{Arg, Args};

use super::Sources;
use crate::{
    app::{self, AppError},
    config::Config,
    repository::{
        RepositoryError,
        mysql::{
            Layout, MoveEstimate, MoveExtent, MoveOrder, MoveProgress, Moved, MovedPartition,
            MySqlStorage,
        },
    },
    shutdown::Shutdown,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sluicegate migrate --database-url mysql://admin:secret@db.example:3306/sensors --layout hashed
  sluicegate migrate --database-url mysql://admin:secret@db.example:3306/sensors --to series --dry-run
  sluicegate migrate --database-url mysql://admin:secret@db.example:3306/sensors --to series

Moving may be ended at any time: the same command goes on from there. Services start anew by themselves when it begins.

Takes the other settings of `serve` as well, so that both can be called alike, and leaves them alone.";

/// What it goes by.
pub(super) const OWN: [&str; 19] = [
    "config",
    "database_url",
    "database_ca",
    "database_client_cert",
    "database_client_key",
    "database_insecure",
    "embedded_db",
    "embedded_db_bin",
    "layout",
    "table",
    "columns",
    "connect_deadline_s",
    "log",
    "log_format",
    "to",
    "dry_run",
    "prepare_only",
    "max_rate",
    "step_readings",
];

/// Between two lines of how far a move is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where readings are moved.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum MoveTo {
    /// From any other layout
    Series,
    /// From series
    Partitioned,
}

impl From<MoveTo> for Layout {
    fn from(to: MoveTo) -> Self {
        match to {
            MoveTo::Series => Self::Series,
            MoveTo::Partitioned => Self::Partitioned,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// Moves all readings into this layout, while others go on coming in: series, or from there partitioned
    #[arg(long, value_name = "LAYOUT", value_enum)]
    pub to: Option<MoveTo>,

    /// Says how long the move would take, and in how much room, and moves nothing. Tries some steps on copies of readings, in
    /// tables that are dropped again, which takes the rights of the move
    #[arg(long, requires = "to", conflicts_with = "prepare_only")]
    pub dry_run: bool,

    /// Makes the tables of the new layout beside the old one, and moves nothing: for accounts that have to be given rights to
    /// them (sql/grants.sql)
    #[arg(long, requires = "to")]
    pub prepare_only: bool,

    /// Readings a second that are moved at the most [default: as many as the database takes]
    #[arg(long, requires = "to", value_name = "READINGS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rate: Option<u32>,

    /// Readings that are moved in one transaction at the most, which others wait for that change or delete them
    #[arg(long, requires = "to", value_name = "READINGS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub step_readings: u32,

    #[command(flatten)]
    pub sources: Sources,
}

/// The help of a command shows what is its own.
pub(super) fn hide_others(arg: Arg) -> Arg {
    let others = !OWN.contains(&arg.get_id().as_str()) && arg.get_id() != "help";
    arg.hide(others)
}

pub(super) async fn migrate(config: &Config, wanted: &Migrate) -> Result<(), AppError> {
    let shutdown = Shutdown::new(Duration::from_secs(config.shutdown_deadline_s));
    let database = app::start_database(config, &shutdown.tasks).await?;
    let settings = config.database_settings(database.url());
    let done = match wanted.to {
        None => MySqlStorage::migrate(&settings, config.layout)
            .await
            .map(|applied| tell_applied(&applied)),
        Some(to) => {
            let to = Layout::from(to);
            let order = MoveOrder {
                to,
                extent: match (wanted.dry_run, wanted.prepare_only) {
                    (true, _) => MoveExtent::Estimate,
                    (false, true) => MoveExtent::Prepare,
                    (false, false) => MoveExtent::All,
                },
                max_rate: wanted.max_rate,
                step_readings: wanted.step_readings,
            };
            let told_at = Mutex::new(Instant::now());
            let told = |progress| now_and_then(&told_at, progress);
            let moved = Box::pin(MySqlStorage::move_readings(&settings, order, &told));
            moved.await.map(|moved| tell_moved(to, &moved))
        }
    };
    shutdown.draining.cancel();
    database.stop().await;
    done.map_err(|error: RepositoryError| error.into())
}

fn tell_applied(applied: &[String]) {
    match applied {
        [] => println!("nothing to do: the schema is up to date"),
        applied => println!("applied: {}", applied.join(", ")),
    }
}

fn now_and_then(told_at: &Mutex<Instant>, progress: MoveProgress) {
    let mut told_at = told_at
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if told_at.elapsed() >= TELL_EVERY {
        *told_at = Instant::now();
        println!("{}", line_of(progress));
    }
}

fn line_of(progress: MoveProgress) -> String {
    let MoveProgress {
        moved,
        expected,
        elapsed,
    } = progress;
    let rate = moved as f64 / elapsed.as_secs_f64().max(0.001);
    // What the server expects of a table may be far off.
    let Some(left) = expected.checked_sub(moved).filter(|&left| left > 0) else {
        return format!("moved {moved} readings, {rate:.0} a second");
    };
    let left = Duration::from_secs_f64(left as f64 / rate.max(1.0));
    format!(
        "moved {moved} of about {expected} readings, {rate:.0} a second, about {} to go",
        span(left)
    )
}

fn tell_moved(to: Layout, moved: &Moved) {
    match moved {
        Moved::Nothing => println!("nothing to do: all readings are in the layout {to}"),
        Moved::Prepared => println!(
            "the tables of the layout {to} are there: give the accounts their rights (sql/grants.sql), and run the command \
             without --prepare-only"
        ),
        Moved::Estimated(estimate) => print!("{}", lines_of(to, estimate)),
        Moved::All(partitions) => {
            println!("partition\treadings\tsum of checksums");
            for MovedPartition {
                name,
                readings,
                checksum,
            } in partitions
            {
                let name = if name.is_empty() { "-" } else { name };
                println!("{name}\t{readings}\t{checksum}");
            }
            let readings: u64 = partitions.iter().map(|part| part.readings).sum();
            println!(
                "moved {readings} readings to the layout {to}, each with the checksum that it had, and dropped the old table"
            );
        }
    }
}

fn lines_of(to: Layout, estimate: &MoveEstimate) -> String {
    let MoveEstimate {
        readings,
        bytes,
        new_bytes,
        duration,
        sample,
    } = estimate;
    format!(
        "about {readings} readings in {}\n\
         in the layout {to} about {}\n\
         about {} to move them, with nothing else at work (tried with {sample} of them, on copies)\n\
         room for both is needed while the newest partition is moved: others are dropped as soon as they are empty\n",
        mib(*bytes),
        mib(*new_bytes),
        span(*duration),
    )
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = MoveProgress {
            moved: 200_000,
            expected: 1_000_000,
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(
            line_of(progress),
            "moved 200000 of about 1000000 readings, 100000 a second, about 8 s to go"
        );
        assert_eq!(span(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(span(Duration::from_secs(7_322)), "2 h 2 min");
    }
}
