//! Whether a table of somebody's own can hold readings: all in which it differs, in one sentence, before anything else.

use mysql_async::{Conn, Row};

use super::{
    answers,
    error::explain,
    ledger::quote,
    names::{COLUMNS, Names, is_same},
};
use crate::repository::RepositoryError;

struct Column {
    name: String,
    data_type: String,
    whole_type: String,
    is_nullable: bool,
    has_default: bool,
    /// Whether the server makes its value, of others or by counting.
    is_generated: bool,
    is_counted: bool,
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
            "the table {table} (settings table and columns) is not there, or this account may not see it: a table of your own is never made \
             for you"
        )));
    };
    let mut differs = Vec::new();
    if kind == "VIEW" {
        return Err(RepositoryError::Setup(format!(
            "the table {table} (settings table and columns) does not fit: it is a view, and has to be a table"
        )));
    }
    if kind != "BASE TABLE" {
        differs.push(
            "it keeps its history (system versioning), and a reading that is loaded would be two"
                .to_owned(),
        );
    }
    if engine != "InnoDB" {
        differs.push(format!("its engine is {engine}, and has to be InnoDB"));
    }
    columns_that_differ(&columns(conn, table).await?, names, &mut differs);
    keys_that_differ(conn, names, &mut differs).await?;
    match differs.is_empty() {
        true => Ok(()),
        false => Err(RepositoryError::Setup(format!(
            "the table {table} (settings table and columns) does not fit: {}",
            differs.join("; ")
        ))),
    }
}

async fn columns(conn: &mut Conn, table: &str) -> Result<Vec<Column>, RepositoryError> {
    let sql = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL, \
         COALESCE(GENERATION_EXPRESSION, '') <> '', EXTRA LIKE '%auto_increment%', COLLATION_NAME \
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
            is_generated: flag(5),
            is_counted: flag(6),
            collation: text(7),
        }
    });
    Ok(columns.collect())
}

fn columns_that_differ(columns: &[Column], names: &Names, differs: &mut Vec<String>) {
    for ours in COLUMNS {
        let name = names.column(ours);
        let Some(column) = columns.iter().find(|column| is_same(&column.name, name)) else {
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
            "id1" => &["int"],
            "ts" => &["datetime", "timestamp"],
            _ => &["varchar"],
        };
        if column.is_generated {
            differs.push(format!("{name} is generated, and has to take a value"));
            continue;
        }
        if !types.contains(&column.data_type.as_str()) {
            differs.push(format!(
                "{name} is {}, and has to be {}",
                column.whole_type,
                types.join(" or ")
            ));
        } else if ["id", "id1"].contains(&ours) && column.whole_type.contains("unsigned") {
            differs.push(format!(
                "{name} is {}, and has to be signed",
                column.whole_type
            ));
        } else if types == ["varchar"]
            && !(column.collation.starts_with("utf8mb4") && column.collation.ends_with("_bin"))
        {
            differs.push(format!(
                "{name} has the collation {}, and has to have one of utf8mb4 that ends in _bin: others take different texts for equal, or hold fewer",
                column.collation
            ));
        }
        if column.is_nullable {
            differs.push(format!("{name} may be NULL, and has to be NOT NULL"));
        }
    }
    for other in columns {
        let is_ours = COLUMNS
            .iter()
            .any(|ours| is_same(names.column(ours), &other.name));
        let has_value = other.is_nullable
            || other.has_default
            || other.is_generated
            || other.is_counted
            // The first of its values.
            || other.data_type == "enum";
        if !is_ours && !has_value {
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
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        quote(names.table())
    );
    let keys: Vec<(String, String)> = answers::ask(conn, &sql).await.map_err(explain)?;
    let primary = keys.iter().filter(|(key, _)| key == "PRIMARY");
    let primary: Vec<&str> = primary.map(|(_, column)| column.as_str()).collect();
    let (id, ts) = (names.column("id"), names.column("ts"));
    let is_key = |columns: &[&str]| {
        columns.len() == primary.len()
            && columns
                .iter()
                .zip(&primary)
                .all(|(one, other)| is_same(one, other))
    };
    if !is_key(&[id]) && !is_key(&[ts, id]) {
        let found = match primary.is_empty() {
            true => "it has no primary key".to_owned(),
            false => format!("its primary key is ({})", primary.join(", ")),
        };
        differs.push(format!("{found}, and has to have ({id}) or ({ts}, {id})"));
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
