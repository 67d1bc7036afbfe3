//! Lists series, and keeps their tags. What a list selects by decides which key it walks, and so its order.

use mysql_async::{Row, Value, prelude::Queryable as _};

use super::super::{
    answers::{self, unexpected},
    asking::Asking,
    error::explain,
    instant,
    statement::{Statement, listed},
};
use crate::{
    model::{Series, SeriesFilter, SeriesInfo, SeriesPlace, TAGS_MAX, TagChanges, Tags},
    repository::RepositoryError,
};

/// So many series are named by one statement.
const STATEMENT_SERIES: usize = 1_000;
const COLUMNS: &str = "series.series_id, series.id1, series.id2, series.sensor_type, series.first_seen, series.last_seen";
const DAY_US: i64 = 86_400_000_000;

/// The table of series and that of their tags.
#[derive(Clone, Debug)]
pub struct MySqlSeries {
    pub(super) asking: Asking,
    /// The index of the readings that begins with their series.
    pub(super) readings_by_series: Option<String>,
}

/// Which key a list walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    Number,
    /// By id1, and in the order of the other names.
    Names,
    Id2,
    Tag,
}

impl Walk {
    fn of(filter: &SeriesFilter) -> Self {
        match filter {
            SeriesFilter {
                id1: Some(_),
                id2: Some(_),
                ..
            } => Self::Names,
            SeriesFilter { tags, .. } if !tags.is_empty() => Self::Tag,
            SeriesFilter { id1: Some(_), .. } => Self::Names,
            SeriesFilter { id2: Some(_), .. }
            | SeriesFilter {
                prefix: Some(_), ..
            } => Self::Id2,
            _ => Self::Number,
        }
    }

    fn from(self) -> &'static str {
        match self {
            Self::Number => " FROM series FORCE INDEX (PRIMARY)",
            Self::Names => " FROM series FORCE INDEX (by_names)",
            Self::Id2 => " FROM series FORCE INDEX (by_id2)",
            Self::Tag => {
                " FROM series_tags AS tagged FORCE INDEX (by_tag) STRAIGHT_JOIN series \
                 ON series.series_id = tagged.series_id"
            }
        }
    }

    fn order(self) -> &'static str {
        match self {
            Self::Number => " ORDER BY series.series_id",
            Self::Names => {
                " ORDER BY series.id2, series.sensor_type, series.id2_bytes, series.sensor_type_bytes"
            }
            Self::Id2 => " ORDER BY series.id2, series.series_id",
            Self::Tag => " ORDER BY tagged.series_id",
        }
    }

    /// Only what lies behind a place of the order.
    fn behind(self, statement: &mut Statement, place: &SeriesPlace) {
        let number: Value = place.number.into();
        let (id2, sensor_type): (Value, Value) =
            (place.id2.as_str().into(), place.sensor_type.as_str().into());
        match self {
            Self::Number => {
                statement.push(" AND series.series_id > ?", [number]);
            }
            Self::Tag => {
                statement.push(" AND tagged.series_id > ?", [number]);
            }
            Self::Names => {
                let (id2_bytes, type_bytes) = (place.id2.len(), place.sensor_type.len());
                statement.push(
                    " AND series.id2 >= ? AND (series.id2 > ? OR series.sensor_type > ? \
                     OR (series.sensor_type = ? AND (series.id2_bytes > ? \
                     OR (series.id2_bytes = ? AND series.sensor_type_bytes > ?))))",
                    [
                        id2.clone(),
                        id2,
                        sensor_type.clone(),
                        sensor_type,
                        id2_bytes.into(),
                        id2_bytes.into(),
                        type_bytes.into(),
                    ],
                );
            }
            Self::Id2 => {
                statement.push(
                    " AND series.id2 >= ? AND (series.id2 > ? OR series.series_id > ?)",
                    [id2.clone(), id2, number],
                );
            }
        }
    }
}

fn of_filter(statement: &mut Statement, filter: &SeriesFilter, walk: Walk) {
    let SeriesFilter {
        id1,
        id2,
        prefix,
        sensor_type,
        tags,
        seen_since_day,
    } = filter;
    statement.push(" WHERE TRUE", []);
    for (index, (tag, value)) in tags.iter().enumerate() {
        let params = [Value::from(tag.as_str()), value.as_str().into()];
        match (walk, index) {
            (Walk::Tag, 0) => statement.push(" AND tagged.tag = ? AND tagged.value = ?", params),
            _ => statement.push(
                " AND EXISTS (SELECT 1 FROM series_tags WHERE series_tags.series_id = series.series_id \
                 AND series_tags.tag = ? AND series_tags.value = ?)",
                params,
            ),
        };
    }
    if let Some(id1) = id1 {
        statement.push(" AND series.id1 = ?", [(*id1).into()]);
    }
    if let Some(id2) = id2 {
        statement.push(
            " AND series.id2 = ? AND LENGTH(series.id2) = ?",
            [id2.as_str().into(), id2.len().into()],
        );
    }
    if let Some(prefix) = prefix {
        statement.push(" AND series.id2 LIKE ? ESCAPE '|'", [like(prefix).into()]);
    }
    if let Some(sensor_type) = sensor_type {
        statement.push(
            " AND series.sensor_type = ? AND LENGTH(series.sensor_type) = ?",
            [sensor_type.as_str().into(), sensor_type.len().into()],
        );
    }
    if let Some(day) = seen_since_day {
        statement.push(" AND series.last_seen >= ?", [day_value(*day)]);
    }
}

/// What begins like this.
fn like(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for char in prefix.chars() {
        if matches!(char, '%' | '_' | '|') {
            pattern.push('|');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

fn day_value(day: i32) -> Value {
    match instant::to_value(i64::from(day) * DAY_US) {
        Value::Date(year, month, day, ..) => Value::Date(year, month, day, 0, 0, 0, 0),
        other => other,
    }
}

impl MySqlSeries {
    pub(in super::super) fn new(asking: Asking, readings_by_series: Option<String>) -> Self {
        Self {
            asking,
            readings_by_series,
        }
    }

    /// Series from behind a place, at most `limit`, with their tags.
    pub(crate) async fn list(
        &self,
        filter: &SeriesFilter,
        after: Option<&SeriesPlace>,
        limit: usize,
    ) -> Result<Vec<SeriesInfo>, RepositoryError> {
        let walk = Walk::of(filter);
        let mut statement = Statement::new(&format!("SELECT {COLUMNS}{}", walk.from()));
        of_filter(&mut statement, filter, walk);
        if let Some(place) = after {
            walk.behind(&mut statement, place);
        }
        statement
            .push(walk.order(), [])
            .push(" LIMIT ?", [limit.into()]);
        let rows = self.asking.rows(statement).await?.into_iter();
        let mut found = rows
            .map(|row| info(row).ok_or_else(unexpected))
            .collect::<Result<Vec<_>, _>>()?;
        self.add_tags(&mut found).await?;
        Ok(found)
    }

    pub(crate) async fn count(&self, filter: &SeriesFilter) -> Result<u64, RepositoryError> {
        let walk = Walk::of(filter);
        let mut statement = Statement::new(&format!("SELECT COUNT(*){}", walk.from()));
        of_filter(&mut statement, filter, walk);
        let row = self.asking.rows(statement).await?.pop();
        row.and_then(|row| row.get(0)).ok_or_else(unexpected)
    }

    /// The highest number: there are no more series than that.
    pub(crate) async fn highest(&self) -> Result<u32, RepositoryError> {
        let statement = Statement::new("SELECT COALESCE(MAX(series_id), 0) FROM series");
        let row = self.asking.rows(statement).await?.pop();
        row.and_then(|row| row.get(0)).ok_or_else(unexpected)
    }

    pub(crate) async fn one(&self, number: u32) -> Result<Option<SeriesInfo>, RepositoryError> {
        let mut statement = Statement::new(&format!("SELECT {COLUMNS} FROM series"));
        statement.push(" WHERE series_id = ?", [number.into()]);
        let row = self.asking.rows(statement).await?.pop();
        let Some(found) = row else {
            return Ok(None);
        };
        let mut found = [info(found).ok_or_else(unexpected)?];
        self.add_tags(&mut found).await?;
        let [found] = found;
        Ok(Some(found))
    }

    async fn add_tags(&self, series: &mut [SeriesInfo]) -> Result<(), RepositoryError> {
        for some in series.chunks_mut(STATEMENT_SERIES) {
            let numbers: Vec<u32> = some.iter().map(|one| one.number).collect();
            let statement = Statement::new(&format!(
                "SELECT series_id, tag, value FROM series_tags FORCE INDEX (PRIMARY) WHERE series_id IN ({})",
                listed(&numbers)
            ));
            let mut tags = std::collections::HashMap::<u32, Tags>::new();
            for row in self.asking.rows(statement).await? {
                let (number, tag, value) =
                    mysql_async::from_row_opt(row).map_err(|_| unexpected())?;
                tags.entry(number).or_default().insert(tag, value);
            }
            for one in some {
                one.tags = tags.remove(&one.number).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// The numbers of some series, in their order; None for those that there are not.
    pub(crate) async fn numbers(
        &self,
        series: &[Series],
    ) -> Result<Vec<Option<u32>>, RepositoryError> {
        let mut found = std::collections::HashMap::new();
        for some in series.chunks(STATEMENT_SERIES / 4) {
            let mut statement = Statement::new(
                "SELECT series_id, id1, id2, sensor_type FROM series FORCE INDEX (by_names) WHERE FALSE",
            );
            for one in some {
                statement.push(
                    " OR (id1 = ? AND id2 = ? AND sensor_type = ? AND id2_bytes = ? AND sensor_type_bytes = ?)",
                    [
                        one.id1.into(),
                        one.id2.as_str().into(),
                        one.sensor_type.as_str().into(),
                        one.id2.len().into(),
                        one.sensor_type.len().into(),
                    ],
                );
            }
            for row in self.asking.rows(statement).await? {
                let (number, id1, id2, sensor_type) =
                    mysql_async::from_row_opt::<(u32, i32, String, String)>(row)
                        .map_err(|_| unexpected())?;
                found.insert((id1, id2, sensor_type), number);
            }
        }
        let number = |one: &Series| {
            let names = (one.id1, one.id2.clone(), one.sensor_type.clone());
            found.get(&names).copied()
        };
        Ok(series.iter().map(number).collect())
    }

    /// Gives each of these series the tags, in one transaction: all or none. With `instead` they have no others from then on.
    /// Numbers of which none is there are left out, and those told that would have more tags than they may: nothing is changed
    /// then.
    pub(crate) async fn tag(
        &self,
        changes: Vec<(u32, TagChanges)>,
        instead: bool,
    ) -> Result<Retagged, RepositoryError> {
        self.asking
            .in_transaction(move |conn| Box::pin(async move { tag(conn, &changes, instead).await }))
            .await
    }
}

/// What became of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Retagged {
    /// Series that are not there were left out.
    Done { missing: Vec<u32> },
    /// These would have too many.
    TooMany(Vec<u32>),
}

async fn tag(
    conn: &mut mysql_async::Conn,
    changes: &[(u32, TagChanges)],
    instead: bool,
) -> Result<Retagged, RepositoryError> {
    let numbers: Vec<u32> = changes.iter().map(|(number, _)| *number).collect();
    let numbers = listed(&numbers);
    conn.query_drop("START TRANSACTION")
        .await
        .map_err(explain)?;
    // In the order of the key, so that two who tag the same series wait for each other, and not in a circle.
    let locked = format!(
        "SELECT series_id FROM series WHERE series_id IN ({numbers}) ORDER BY series_id FOR UPDATE"
    );
    let there: Vec<u32> = answers::ask(conn, &locked).await.map_err(explain)?;
    let is_there = |number: &u32| there.binary_search(number).is_ok();
    let known = || changes.iter().filter(|(number, _)| is_there(number));
    // From now on those that producers tell are of no account.
    let sql =
        format!("UPDATE series SET tagged_at = UTC_TIMESTAMP(6) WHERE series_id IN ({numbers})");
    conn.query_drop(sql).await.map_err(explain)?;
    if instead {
        let sql = format!("DELETE FROM series_tags WHERE series_id IN ({numbers})");
        conn.query_drop(sql).await.map_err(explain)?;
    }
    let removed = known().flat_map(|(number, tags)| {
        let removed = tags.iter().filter(|(_, value)| value.is_none());
        removed.map(move |(tag, _)| (*number, tag))
    });
    let removed: Vec<_> = removed.collect();
    for some in removed.chunks(STATEMENT_SERIES / 4) {
        let places = vec!["(series_id = ? AND tag = ?)"; some.len()].join(" OR ");
        let sql = format!("DELETE FROM series_tags WHERE {places}");
        let params: Vec<Value> = some
            .iter()
            .flat_map(|(number, tag)| [Value::from(*number), tag.as_str().into()])
            .collect();
        conn.exec_drop(sql, params).await.map_err(explain)?;
    }
    let given = known().flat_map(|(number, tags)| {
        tags.iter()
            .filter_map(move |(tag, value)| Some((number, tag, value.as_ref()?)))
    });
    let given: Vec<_> = given.collect();
    for some in given.chunks(STATEMENT_SERIES) {
        let places = vec!["(?,?,?)"; some.len()].join(",");
        let sql = format!(
            "INSERT INTO series_tags (series_id, tag, value) VALUES {places} ON DUPLICATE KEY UPDATE value = VALUES(value)"
        );
        let params: Vec<Value> = some
            .iter()
            .flat_map(|(number, tag, value)| {
                [
                    Value::from(**number),
                    tag.as_str().into(),
                    value.as_str().into(),
                ]
            })
            .collect();
        conn.exec_drop(sql, params).await.map_err(explain)?;
    }
    let sql = format!(
        "SELECT series_id FROM series_tags WHERE series_id IN ({numbers}) GROUP BY series_id HAVING COUNT(*) > {TAGS_MAX}"
    );
    let beyond: Vec<u32> = answers::ask(conn, &sql).await.map_err(explain)?;
    if !beyond.is_empty() {
        conn.query_drop("ROLLBACK").await.map_err(explain)?;
        return Ok(Retagged::TooMany(beyond));
    }
    conn.query_drop("COMMIT").await.map_err(explain)?;
    let missing = changes.iter().map(|(number, _)| *number);
    Ok(Retagged::Done {
        missing: missing.filter(|number| !is_there(number)).collect(),
    })
}

fn info(row: Row) -> Option<SeriesInfo> {
    let (number, id1, id2, sensor_type, first_seen, last_seen) =
        mysql_async::from_row_opt::<(u32, i32, String, String, Value, Value)>(row).ok()?;
    Some(SeriesInfo {
        number,
        series: Series {
            id1,
            id2,
            sensor_type,
        },
        first_seen_us: instant::from_value(&first_seen)?,
        last_seen_day: instant::from_value(&last_seen)
            .map(|at_us| (at_us.div_euclid(DAY_US)) as i32),
        tags: Tags::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_as_it_is_written() {
        assert_eq!(like("a_b%c|d\\"), "a|_b|%c||d\\%");
    }

    #[test]
    fn a_day_is_a_date_without_a_time() {
        assert_eq!(day_value(20_454), Value::Date(2026, 1, 1, 0, 0, 0, 0));
    }
}
