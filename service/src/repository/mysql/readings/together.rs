//! Readings in two tables, while they are moved from one into the other. Each is in one of them at any time, under the same key.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mysql_async::Row;

use super::{
    super::{
        answers::unexpected,
        asking::Asking,
        leftover::{Leftover, is_gone},
        names::Names,
        series::Naming,
        statement::Statement,
    },
    Kind, aggregate, numbered,
    numbered::NumberedReadings,
    of_kind, plain,
    plain::PlainReadings,
};
use crate::{
    model::{Bucket, Change, IdPair, Order, ReadingKey, Selection, StoredReading},
    repository::{AggregateQuery, RepositoryError, Stretch},
};

/// The table that readings are moved out of.
pub(super) struct Moving {
    kind: Kind,
    asking: Asking,
    table: &'static str,
    /// All are moved, and the table is not there any more.
    gone: Arc<AtomicBool>,
}

impl Moving {
    /// `naming` is for readings that have numbers.
    pub(super) fn new(asking: &Asking, left: &Leftover, naming: Arc<Naming>) -> Self {
        let kind = match left.layout.is_numbered() {
            true => Kind::Numbered(NumberedReadings {
                asking: asking.clone(),
                table: numbered::MOVING,
                limits: left.limits,
                indexes: left.indexes.clone(),
                naming,
                looks_inside: true,
                names: numbered::NameMemory::default(),
            }),
            false => Kind::Plain(PlainReadings {
                asking: asking.clone(),
                table: plain::MOVING,
                names: Names::default(),
                limits: left.limits,
                touches_ts: left.touches_ts,
                indexes: left.indexes.clone(),
            }),
        };
        Self {
            kind,
            asking: asking.clone(),
            table: left.layout.moving_table(),
            gone: left.gone.clone(),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// What the table answers; None when it is not there any more, and so has nothing to say.
    pub(super) async fn unless_gone<T>(
        &self,
        asking: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<Option<T>, RepositoryError> {
        if self.gone.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match asking.await {
            Err(error) => match self.is_gone().await {
                true => Ok(None),
                false => Err(error),
            },
            answer => answer.map(Some),
        }
    }

    async fn is_gone(&self) -> bool {
        let looking = Statement::new(&format!("SELECT 1 FROM {} LIMIT 0", self.table));
        let looked = self.asking.rows(looking).await;
        let is_gone = looked.as_ref().is_err_and(is_gone);
        if is_gone {
            tracing::info!(table = self.table, "all readings are moved");
            self.gone.store(true, Ordering::Relaxed);
        }
        is_gone
    }

    pub(super) async fn page(
        &self,
        selection: &Selection,
        leg: u32,
        order: Order,
        after: Option<ReadingKey>,
        limit: usize,
    ) -> Result<Vec<StoredReading>, RepositoryError> {
        let page = async { of_kind!(&self.kind, page(selection, leg, order, after, limit)) };
        Ok(self.unless_gone(page).await?.unwrap_or_default())
    }

    pub(super) async fn stretch(
        &self,
        selection: &Selection,
        leg: u32,
        within: Stretch,
        rows: usize,
    ) -> Result<Option<ReadingKey>, RepositoryError> {
        let stretch = async { of_kind!(&self.kind, stretch(selection, leg, within, rows)) };
        Ok(self.unless_gone(stretch).await?.flatten())
    }

    pub(super) async fn delete(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
    ) -> Result<u64, RepositoryError> {
        let deleting = async { of_kind!(&self.kind, delete(selection, leg, stretch)) };
        Ok(self.unless_gone(deleting).await?.unwrap_or_default())
    }

    pub(super) async fn update(
        &self,
        selection: &Selection,
        leg: u32,
        stretch: Stretch,
        change: &Change,
    ) -> Result<u64, RepositoryError> {
        let updating = async { of_kind!(&self.kind, update(selection, leg, stretch, change)) };
        Ok(self.unless_gone(updating).await?.unwrap_or_default())
    }

    /// None when there are none any more.
    pub(super) async fn latest(
        &self,
        pairs: &[IdPair],
        sensor_type: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<Option<Vec<Vec<StoredReading>>>, RepositoryError> {
        let latest = async { of_kind!(&self.kind, latest(pairs, sensor_type, tags)) };
        self.unless_gone(latest).await
    }

    pub(super) async fn expected_rows(
        &self,
        query: &AggregateQuery,
    ) -> Result<u64, RepositoryError> {
        let expecting = async { of_kind!(&self.kind, expected_rows(query)) };
        Ok(self.unless_gone(expecting).await?.unwrap_or_default())
    }
}

/// Readings of both tables, in order, each once, at most `limit`.
pub(super) fn in_order(
    not_moved: Vec<StoredReading>,
    mut found: Vec<StoredReading>,
    order: Order,
    limit: usize,
) -> Vec<StoredReading> {
    if not_moved.is_empty() {
        return found;
    }
    found.extend(not_moved);
    let key = |stored: &StoredReading| (stored.reading.timestamp_us, stored.id);
    // Stable: what the second table says of one that was just moved stands first.
    found.sort_by_key(key);
    found.dedup_by_key(|stored| key(stored));
    if order == Order::Descending {
        found.reverse();
    }
    found.truncate(limit);
    found
}

/// The newest of a pair: that of each sensor type, in their order, or one.
pub(super) fn newest(
    not_moved: Vec<StoredReading>,
    found: Vec<StoredReading>,
    of_each_type: bool,
) -> Vec<StoredReading> {
    let mut all = in_order(not_moved, found, Order::Descending, usize::MAX);
    if of_each_type {
        // Stable: of each type the newest stands first.
        all.sort_by(|one, other| {
            let sensor_type = |stored: &StoredReading| stored.reading.series.sensor_type.clone();
            sensor_type(one).cmp(&sensor_type(other))
        });
        all.dedup_by(|one, other| {
            one.reading.series.sensor_type == other.reading.series.sensor_type
        });
    } else {
        all.sort_by_key(|stored| std::cmp::Reverse((stored.reading.timestamp_us, stored.id)));
        all.truncate(1);
    }
    all
}

/// One statement, and so of one moment, over two counts.
pub(super) fn sum(one: Option<&Statement>, other: Option<&Statement>) -> Statement {
    let mut sum = Statement::new("SELECT CAST(0");
    for count in one.into_iter().chain(other) {
        sum.push(" + (", [])
            .push(&count.sql, count.params.iter().cloned())
            .push(")", []);
    }
    sum.push(" AS UNSIGNED)", []);
    sum
}

/// One statement, and so of one moment, over two that ask for groups.
pub(super) fn both(one: Option<&Statement>, other: Option<&Statement>) -> Statement {
    let mut both = Statement::default();
    for groups in one.into_iter().chain(other) {
        let before = if both.sql.is_empty() {
            "("
        } else {
            " UNION ALL ("
        };
        both.push(before, [])
            .push(&groups.sql, groups.params.iter().cloned())
            .push(")", []);
    }
    match both.sql.is_empty() {
        true => Statement::new("SELECT 1 FROM DUAL WHERE FALSE"),
        false => both,
    }
}

/// Groups by their key, at most `limit`; what two tables say of one is taken together.
pub(super) fn groups(rows: Vec<Row>, limit: usize) -> Result<Vec<Bucket>, RepositoryError> {
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        groups.push(aggregate::group(row).ok_or_else(unexpected)?);
    }
    groups.sort_by_cached_key(|group: &aggregate::Group| {
        let key = group.bucket.key();
        (key.start_us, key.id1, key.id2, key.sensor_type)
    });
    let mut merged: Vec<aggregate::Group> = Vec::with_capacity(groups.len());
    for group in groups {
        match merged.pop() {
            Some(last) if last.bucket.key() == group.bucket.key() => merged.push(last.and(group)),
            last => merged.extend(last.into_iter().chain([group])),
        }
    }
    merged.truncate(limit);
    Ok(merged.into_iter().map(|group| group.bucket).collect())
}
