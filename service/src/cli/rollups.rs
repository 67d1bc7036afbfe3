//! `sluicegate rollups`: has buckets made anew, or gives up a level.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Sources, migrate};
use crate::{
    app::{self, AppError},
    config::Config,
    model::{PointInTime, TimeSpan},
    repository::{RepositoryError, mysql::MySqlRollups},
    shutdown::Shutdown,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  sluicegate rollups rebuild --database-url mysql://admin:secret@db.example:3306/sensors --from 2026-01-01 --to 2026-02-01
  sluicegate rollups drop --database-url mysql://admin:secret@db.example:3306/sensors --every 1m

Running services make the buckets anew, a few at a time; until then answers are made from readings.

Takes the other settings of `serve` as well, so that both can be called alike, and leaves them alone.";

#[derive(Clone, Debug, Subcommand)]
pub enum RollupsCommand {
    /// Has buckets made anew from readings, after changes that were made past the service
    #[command(mut_args = migrate::hide_others)]
    Rebuild(Box<Rebuild>),
    /// Gives up all buckets of a length, also those whose readings are gone
    #[command(mut_args = migrate::hide_others)]
    Drop(Box<DropLevel>),
}

#[derive(Clone, Debug, Args)]
pub struct Rebuild {
    /// Of readings from this time on: a date, or an instant such as 2026-01-01T00:00:00Z [default: the first]
    #[arg(id = "from", long = "from", value_name = "TIME")]
    from: Option<PointInTime>,

    /// Of readings before this time [default: the last]
    #[arg(id = "to", long = "to", value_name = "TIME")]
    to: Option<PointInTime>,

    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Clone, Debug, Args)]
pub struct DropLevel {
    /// Of buckets of this length, such as 1m
    #[arg(id = "every", long = "every", value_name = "EVERY")]
    every: TimeSpan,

    #[command(flatten)]
    pub sources: Sources,
}

impl RollupsCommand {
    pub(super) fn sources(&self) -> &Sources {
        match self {
            Self::Rebuild(wanted) => &wanted.sources,
            Self::Drop(wanted) => &wanted.sources,
        }
    }
}

/// The years 1000 to 9999, seconds since the Unix epoch.
const EVER: std::ops::Range<i64> = -30_610_224_000..253_402_300_800;

pub(super) async fn run(config: &Config, wanted: &RollupsCommand) -> Result<(), AppError> {
    let shutdown = Shutdown::new(Duration::from_secs(config.shutdown_deadline_s));
    let database = app::start_database(config, &shutdown.tasks).await?;
    let settings = config.database_settings(database.url());
    let done = async {
        let rollups = MySqlRollups::of_database(&settings).await?;
        match wanted {
            RollupsCommand::Rebuild(wanted) => rebuild(&rollups, wanted).await,
            RollupsCommand::Drop(wanted) => {
                let every_s = u32::try_from(wanted.every.seconds()).unwrap_or(u32::MAX);
                let removed = rollups.give_up_level(every_s).await?;
                println!("removed {removed} buckets of {}", wanted.every);
                Ok(())
            }
        }
    }
    .await;
    shutdown.draining.cancel();
    database.stop().await;
    done.map_err(|error: RepositoryError| error.into())
}

async fn rebuild(rollups: &MySqlRollups, wanted: &Rebuild) -> Result<(), RepositoryError> {
    let Some(finest) = rollups.levels().finest() else {
        let reason = "this database has no rollups: set rollups, and start the service";
        return Err(RepositoryError::Setup(reason.to_owned()));
    };
    let second = |at: &Option<PointInTime>| at.map(|at| at.us().div_euclid(1_000_000));
    let stretch =
        second(&wanted.from).unwrap_or(EVER.start)..second(&wanted.to).unwrap_or(EVER.end);
    if stretch.is_empty() {
        let reason = "--to is not behind --from: nothing lies between them";
        return Err(RepositoryError::Setup(reason.to_owned()));
    }
    rollups.rebuild(&stretch).await?;
    println!(
        "whatever the buckets of {} and longer ones have of that time is made anew by the services that run",
        finest.every
    );
    Ok(())
}
