//! What a watcher is told, and when.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    model::{IdPair, Selection, Series},
    repository::RepositoryError,
    usecase::{
        ingest::{Ingest, News, Watch, WatchedPair},
        manage::{Manage, QueryError},
    },
};

/// Types of a pair of which news are kept, where all are watched.
const TYPES_OF_A_PAIR: usize = 4;
/// A look into the table that takes longer is tried again later.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// A reading that is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub series: Series,
    pub sensor_value: f64,
    pub timestamp_us: i64,
    /// The newest of so many that came since the last time; 0 where it is what the table held.
    pub readings: u64,
}

/// Tells of some series at a bounded rate: of each the newest reading, an interval apart.
#[derive(Debug)]
pub(super) struct Feed {
    watch: Watch,
    /// The same, for looks into the table.
    selection: Selection,
    interval: Duration,
    /// When it may tell again.
    next_at: Instant,
    /// What is in the table is still to be told.
    must_look: bool,
}

/// What is watched, once it is known.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    selection: Selection,
    pairs: Vec<WatchedPair>,
}

impl Watched {
    /// Series of which news are kept at once.
    pub(super) fn series_max(&self) -> usize {
        let types =
            |pair: &WatchedPair| pair.sensor_types.as_ref().map_or(TYPES_OF_A_PAIR, Vec::len);
        self.pairs.iter().map(types).sum()
    }
}

/// Finds the series that a selection is of. Those that get its tags later are not among them.
///
/// # Errors
/// When tags select too many series, or none are known in this layout, and when the database does not answer.
pub(super) async fn watched(manage: &Manage, selection: Selection) -> Result<Watched, QueryError> {
    let mut selection = selection;
    let pairs = match selection.tags.is_empty() {
        true => {
            let types = selection.sensor_type.clone().map(|one| vec![one]);
            let pairs = selection.pairs.clone().unwrap_or_default().into_iter();
            let pair = |pair| WatchedPair {
                pair,
                sensor_types: types.clone(),
            };
            pairs.map(pair).collect()
        }
        false => of_tagged(
            manage.tagged_series(&selection).await?,
            selection.pairs.as_deref(),
        ),
    };
    let only_pairs = |watched: &WatchedPair| watched.pair.clone();
    selection.pairs = Some(pairs.iter().map(only_pairs).collect());
    Ok(Watched { selection, pairs })
}

/// The pairs of these series, if they are among those that are named.
fn of_tagged(series: Vec<Series>, named: Option<&[IdPair]>) -> Vec<WatchedPair> {
    let mut types: BTreeMap<(i32, String), Vec<String>> = BTreeMap::new();
    for one in series {
        types
            .entry((one.id1, one.id2))
            .or_default()
            .push(one.sensor_type);
    }
    let watched = types.into_iter().map(|((id1, id2), types)| WatchedPair {
        pair: IdPair { id1, id2 },
        sensor_types: Some(types),
    });
    let is_named = |watched: &WatchedPair| named.is_none_or(|named| named.contains(&watched.pair));
    watched.filter(is_named).collect()
}

impl Feed {
    /// Begins with what is in the table.
    pub(super) fn new(ingest: &Ingest, watched: Watched, interval: Duration) -> Self {
        let series_max = watched.series_max();
        Self {
            watch: ingest.watches().watch(watched.pairs, series_max),
            selection: watched.selection,
            interval,
            next_at: Instant::now(),
            must_look: true,
        }
    }

    /// Waits until there is something to be told. Whoever stops waiting loses nothing.
    ///
    /// # Errors
    /// When the database does not answer to a look into the table.
    pub(super) async fn next(&mut self, manage: &Manage) -> Result<Vec<Told>, RepositoryError> {
        tokio::time::sleep_until(self.next_at).await;
        let told = match self.must_look {
            true => {
                let looked = self.look(manage).await;
                self.must_look = looked.is_err();
                looked
            }
            false => {
                let News {
                    fresh,
                    missed,
                    changed,
                } = self.watch.news().await;
                self.must_look = missed || changed;
                let told = fresh.into_iter().map(|(series, fresh)| Told {
                    series,
                    sensor_value: fresh.sensor_value,
                    timestamp_us: fresh.timestamp_us,
                    readings: fresh.readings,
                });
                Ok(told.collect())
            }
        };
        self.next_at = Instant::now() + self.interval;
        told
    }

    /// The newest of each series in the table.
    async fn look(&self, manage: &Manage) -> Result<Vec<Told>, RepositoryError> {
        let looking = manage.latest_stored(self.selection.clone());
        let latest = match tokio::time::timeout(LOOK_DEADLINE, looking).await {
            Ok(latest) => latest?,
            Err(_) => {
                let seconds = LOOK_DEADLINE.as_secs();
                return Err(RepositoryError::Contention(format!(
                    "no answer within {seconds} s"
                )));
            }
        };
        let stored = latest.into_iter().filter_map(|latest| latest.reading);
        let told = stored.map(|stored| Told {
            series: stored.reading.series,
            sensor_value: stored.reading.sensor_value,
            timestamp_us: stored.reading.timestamp_us,
            readings: 0,
        });
        Ok(told.collect())
    }
}
