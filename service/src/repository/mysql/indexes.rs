//! Which indexes the readings table has, by what they begin with. Their names are the administrator's.

use std::collections::BTreeMap;

use mysql_async::{Conn, Row};

use super::{
    answers,
    error::explain,
    names::{Names, quoted},
};
use crate::repository::RepositoryError;

/// The indexes that queries are told to use: the optimizer's own guess changes with its statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    /// Begins with (ts).
    pub(super) time: Option<String>,
    /// Begins with (id1, id2, ts) or, on `hashed`, with (id_hash, ts) or, on `series`, with (series_id, ts).
    pub(super) ids: Option<String>,
    /// Whether `ids` is by hash.
    pub(super) by_hash: bool,
}

impl Indexes {
    pub(super) async fn read(
        conn: &mut Conn,
        table: &str,
        names: &Names,
    ) -> Result<Self, RepositoryError> {
        let sql = format!("SHOW INDEX FROM {}", quoted(table));
        let rows: Vec<Row> = answers::ask(conn, &sql).await.map_err(explain)?;
        let mut indexes = BTreeMap::<String, Vec<String>>::new();
        // In the order of their columns.
        for row in rows {
            let text = |name: &str| row.get::<Option<String>, _>(name).flatten();
            // No query may be told to use one that is switched off: as MySQL calls it, and as MariaDB does.
            if text("Visible").as_deref() == Some("NO") || text("Ignored").as_deref() == Some("YES")
            {
                continue;
            }
            // One over an expression has none.
            let column = text("Column_name").unwrap_or_default();
            let ours = names.ours(&column).unwrap_or_default().to_ascii_lowercase();
            let index = text("Key_name").unwrap_or_default();
            indexes.entry(index).or_default().push(ours);
        }
        if names.are_given() {
            // Columns of these names are not ours.
            for columns in indexes.values_mut() {
                for column in columns {
                    if ["id_hash", "series_id"].contains(&column.as_str()) {
                        column.clear();
                    }
                }
            }
        }
        Ok(Self::choose(&indexes))
    }

    fn choose(indexes: &BTreeMap<String, Vec<String>>) -> Self {
        let beginning = |columns: &[&str]| {
            let mut fitting = indexes.iter().filter(|(_, of)| {
                of.len() >= columns.len() && of.iter().zip(columns).all(|(a, b)| a == b)
            });
            fitting.next().map(|(name, _)| name.clone())
        };
        let hash = beginning(&["id_hash", "ts"]);
        Self {
            time: beginning(&["ts"]),
            by_hash: hash.is_some(),
            ids: hash
                .or_else(|| beginning(&["series_id", "ts"]))
                .or_else(|| beginning(&["id1", "id2", "ts"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(all: &[(&str, &[&str])]) -> Indexes {
        let all = all.iter().map(|(name, columns)| {
            let columns = columns.iter().map(|&column| column.to_owned()).collect();
            ((*name).to_owned(), columns)
        });
        Indexes::choose(&all.collect())
    }

    #[test]
    fn an_index_is_chosen_by_what_it_begins_with() {
        let partitioned = indexes(&[("PRIMARY", &["ts", "id"]), ("k", &["id1", "id2", "ts"])]);
        assert_eq!(partitioned.time.as_deref(), Some("PRIMARY"));
        assert_eq!(partitioned.ids.as_deref(), Some("k"));
        let hashed = indexes(&[("PRIMARY", &["ts", "id"]), ("h", &["id_hash", "ts"])]);
        assert_eq!((hashed.ids.as_deref(), hashed.by_hash), (Some("h"), true));
        let bare = indexes(&[("PRIMARY", &["id"]), ("short", &["id1", "id2"])]);
        assert_eq!(bare, Indexes::default());
    }
}
