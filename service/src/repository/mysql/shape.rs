//! What the columns of the readings table are, as every result set says. An ALTER beside ingestion may leave columns that
//! take readings without a word and hold something else: a FLOAT, or times without microseconds. So each transaction
//! asks before it loads, and what it has asked about stays as it is until the COMMIT.

use mysql_async::{Column, Conn, consts::ColumnType, prelude::Queryable as _};

use super::{
    error::{explain, explain_to},
    series::Proof,
    table::TableLayout,
};
use crate::repository::RepositoryError;

/// Answered without a look at any reading. FOR UPDATE takes the table as the LOAD will: one that came to hold it for
/// writing only then would be in a deadlock with an ALTER that waits meanwhile.
pub(super) fn question(layout: TableLayout) -> &'static str {
    match layout {
        TableLayout::Seed | TableLayout::Partitioned | TableLayout::Hashed => {
            "SELECT id, id1, id2, sensor_type, sensor_value, ts FROM sensor_readings WHERE FALSE FOR UPDATE"
        }
        TableLayout::Series => {
            "SELECT id, series_id, sensor_value, ts FROM readings WHERE FALSE FOR UPDATE"
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ColumnShape {
    kind: ColumnType,
    flags: u16,
    length: u32,
    decimals: u8,
    character_set: u16,
}

/// Tells a table whose columns are as they were from one that has to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape(Vec<ColumnShape>);

impl Shape {
    /// Of the answer's columns.
    pub(super) fn of(columns: &[Column]) -> Self {
        let shape = |column: &Column| ColumnShape {
            kind: column.column_type(),
            flags: column.flags().bits(),
            length: column.column_length(),
            decimals: column.decimals(),
            character_set: column.character_set(),
        };
        Self(columns.iter().map(shape).collect())
    }

    pub(super) async fn read(
        conn: &mut Conn,
        layout: TableLayout,
        question: &str,
    ) -> Result<Self, RepositoryError> {
        let mut shape = Self(Vec::new());
        let of_names = layout.is_numbered().then(|| Proof::default().question());
        for question in [question.to_owned()].into_iter().chain(of_names) {
            let answer = conn.query_iter(question).await;
            let answer = answer.map_err(|error| explain_to("load readings", error))?;
            shape = shape.and(Self::of(answer.columns_ref()));
            answer.drop_result().await.map_err(explain)?;
        }
        Ok(shape)
    }

    /// With the columns of another answer.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}
