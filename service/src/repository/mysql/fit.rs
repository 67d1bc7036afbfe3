//! Whether a table of somebody's own can hold readings: all in which it differs, in one sentence, before anything else.

use mysql_async::{Conn, Row};

use super::{
    answers,
    error::explain,
    ledger::quote,
    names::{COLUMNS, Names},
};
use crate::repository::RepositoryError;

struct Column {
    name: String,
    data_type: String,
    whole_type: String,
    is_nullable: bool,
    has_default: bool,
    /// Whether the server gives it a value by itself.
    is_made: bool,
    collation: String,
}

/// Refuses a table that does not fit.
///
/// # Errors
/// With all that differs.
pub(super) async fn check(conn: &mut Conn, names: &Names) -> Result<(), RepositoryError> {
    if !names.are_given() {
        return Ok(());
    }
    let table = names.table();
    let sql = format!(
        "SELECT TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}",
        quote(table)
    );
    let found: Vec<(String, String)> = answers::ask(conn, &sql).await.map_err(explain)?;
    let Some((kind, engine)) = found.first() else {
        return Err(RepositoryError::Setup(format!(
            "the table {table} (table, columns) is not there, or this account may not see it: a table of your own is never made \
             for you"
        )));
    };
    let mut differs = Vec::new();
    if kind == "VIEW" {
        differs.push("it is a view, and has to be a table".to_owned());
    } else if engine != "InnoDB" {
        differs.push(format!("its engine is {engine}, and has to be InnoDB"));
    }
    columns_that_differ(&columns(conn, table).await?, names, &mut differs);
    keys_that_differ(conn, names, &mut differs).await?;
    match differs.is_empty() {
        true => Ok(()),
        false => Err(RepositoryError::Setup(format!(
            "the table {table} (table, columns) does not fit: {}",
            differs.join("; ")
        ))),
    }
}

async fn columns(conn: &mut Conn, table: &str) -> Result<Vec<Column>, RepositoryError> {
    let sql = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL, \
         EXTRA LIKE '%auto_increment%' OR COALESCE(GENERATION_EXPRESSION, '') <> '', COLLATION_NAME \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        quote(table)
    );
    let rows: Vec<Row> = answers::ask(conn, &sql).await.map_err(explain)?;
    let columns = rows.into_iter().map(|row| {
        let text = |index: usize| {
            row.get::<Option<String>, _>(index)
                .flatten()
                .unwrap_or_default()
        };
        let flag = |index: usize| {
            row.get::<Option<bool>, _>(index)
                .flatten()
                .unwrap_or_default()
        };
        Column {
            name: text(0),
            data_type: text(1).to_ascii_lowercase(),
            whole_type: text(2).to_ascii_lowercase(),
            is_nullable: text(3) == "YES",
            has_default: flag(4),
            is_made: flag(5),
            collation: text(6),
        }
    });
    Ok(columns.collect())
}

fn columns_that_differ(columns: &[Column], names: &Names, differs: &mut Vec<String>) {
    for ours in COLUMNS {
        let name = names.column(ours);
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            differs.push(match name == ours {
                true => format!(
                    "it has no column {ours}: say which one stands for it (columns: {ours}=NAME)"
                ),
                false => format!("it has no column {name}, which is to stand for {ours}"),
            });
            continue;
        };
        let types: &[&str] = match ours {
            "id" => &["bigint"],
            "sensor_value" => &["double"],
            "id1" => &["int", "bigint"],
            "ts" => &["datetime", "timestamp"],
            _ => &["varchar"],
        };
        if !types.contains(&column.data_type.as_str()) {
            differs.push(format!(
                "{name} is {}, and has to be {}",
                column.whole_type,
                types.join(" or ")
            ));
        } else if ours == "id1" && column.whole_type.contains("unsigned") {
            differs.push(format!(
                "{name} is {}, and has to hold negative numbers",
                column.whole_type
            ));
        } else if types == ["varchar"]
            && !(column.collation.starts_with("utf8mb4") && column.collation.ends_with("_bin"))
        {
            differs.push(format!(
                "{name} has the collation {}, which takes different texts for equal, and has to have utf8mb4_bin",
                column.collation
            ));
        }
        if column.is_nullable {
            differs.push(format!("{name} may be NULL, and has to be NOT NULL"));
        }
    }
    for other in columns {
        let is_ours = COLUMNS.iter().any(|ours| names.column(ours) == other.name);
        if !is_ours && !other.is_nullable && !other.has_default && !other.is_made {
            differs.push(format!(
                "{} has no default, and no reading has a value for it: give it one, or let it be NULL",
                other.name
            ));
        }
    }
}

async fn keys_that_differ(
    conn: &mut Conn,
    names: &Names,
    differs: &mut Vec<String>,
) -> Result<(), RepositoryError> {
    let sql = format!(
        "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND NON_UNIQUE = 0",
        quote(names.table())
    );
    let keys: Vec<(String, String)> = answers::ask(conn, &sql).await.map_err(explain)?;
    let id = names.column("id");
    if !keys
        .iter()
        .any(|(key, column)| key == "PRIMARY" && column == id)
    {
        differs.push(format!(
            "{id} is not in its primary key, which has to be ({id}), or the time and it"
        ));
    }
    let mut others: Vec<_> = keys
        .iter()
        .map(|(key, _)| key)
        .filter(|key| *key != "PRIMARY")
        .collect();
    others.dedup();
    for key in others {
        differs.push(format!(
            "it has the unique index {key}, and readings may be alike in everything except their id"
        ));
    }
    Ok(())
}
