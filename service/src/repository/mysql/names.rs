//! What the table of readings and its columns are called. Every statement is written with the names of the schema as it was first
//! specified; where a table is somebody's own, its names are put into their place, here and nowhere else.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use sha2::{Digest as _, Sha256};

use super::ids::COUNTER;

/// What the table is called where nobody says otherwise.
pub(super) const TABLE: &str = "sensor_readings";
/// Its columns.
pub(super) const COLUMNS: [&str; 6] = ["id", "sensor_value", "sensor_type", "id1", "id2", "ts"];
/// The longest name that the engines take.
const MAX_CHARS: usize = 64;

/// Which columns of a table of somebody's own stand for which: `sensor_value=temp,ts=measured_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct ColumnNames(BTreeMap<String, String>);

impl FromStr for ColumnNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut names = BTreeMap::<String, String>::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let Some((ours, theirs)) = part.split_once('=') else {
                return Err(format!("{part:?} is not COLUMN=NAME"));
            };
            let (ours, theirs) = (ours.trim(), theirs.trim());
            if !COLUMNS.contains(&ours) {
                return Err(format!("{ours:?} is none of {}", COLUMNS.join(", ")));
            }
            check_name(theirs)?;
            if names.values().any(|other| is_same(other, theirs)) {
                return Err(format!("{theirs:?} stands for two columns"));
            }
            if names.insert(ours.to_owned(), theirs.to_owned()).is_some() {
                return Err(format!("{ours:?} is there twice"));
            }
        }
        let mut all: Vec<String> = COLUMNS
            .iter()
            .map(|&ours| names.get(ours).map_or(ours, String::as_str).to_lowercase())
            .collect();
        all.sort_unstable();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{:?} stands for two columns", pair[0]));
        }
        Ok(Self(names))
    }
}

/// As a file may have them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Each(BTreeMap<String, String>),
}

impl TryFrom<Written> for ColumnNames {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Each(names) => {
                if let Some(name) = names.values().find(|name| name.contains([',', '='])) {
                    return Err(format!("{name:?} has a comma or an equals sign in it"));
                }
                let pairs = names
                    .iter()
                    .map(|(ours, theirs)| format!("{ours}={theirs}"));
                pairs.collect::<Vec<_>>().join(",").parse()
            }
        }
    }
}

impl From<ColumnNames> for String {
    fn from(names: ColumnNames) -> Self {
        names.to_string()
    }
}

impl fmt::Display for ColumnNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .0
            .iter()
            .map(|(ours, theirs)| format!("{ours}={theirs}"));
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

/// The name of a table of somebody's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName(String);

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_name(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TableName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of columns are compared without case, as the servers compare them.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = !name.is_empty()
        && name.chars().count() <= MAX_CHARS
        && !name.ends_with(' ')
        && !name.contains(['\0', '.']);
    match is_good {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no name: it has 1 to {MAX_CHARS} characters, no dot, and no blank at its end"
        )),
    }
}

/// The names in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// None for its own.
    table: Option<String>,
    columns: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(table: Option<&TableName>, columns: &ColumnNames) -> Self {
        Self {
            table: table.map(|name| name.0.clone()),
            columns: columns.0.clone(),
        }
    }

    /// Whether the table is somebody's own.
    pub(super) fn are_given(&self) -> bool {
        self.table.is_some() || !self.columns.is_empty()
    }

    /// The table's name, as the server's lists of tables have it.
    pub(super) fn table(&self) -> &str {
        self.table.as_deref().unwrap_or(TABLE)
    }

    /// What the counter of its ids is called. One that was begun for another table may be behind.
    pub(super) fn counter(&self) -> String {
        let Some(table) = &self.table else {
            return COUNTER.to_owned();
        };
        let hash = Sha256::digest(table.to_lowercase().as_bytes());
        let hash: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("table {hash}")
    }

    /// A column's name, as the server's lists of columns have it.
    pub(super) fn column<'a>(&'a self, ours: &'a str) -> &'a str {
        self.columns.get(ours).map_or(ours, String::as_str)
    }

    /// Which column this one of the table stands for; None for one that is of no account.
    pub(super) fn ours<'a>(&'a self, theirs: &'a str) -> Option<&'a str> {
        let named = self.columns.iter().find(|(_, name)| is_same(name, theirs));
        match named {
            Some((ours, _)) => Some(ours),
            None => {
                let is_taken = self.columns.keys().any(|ours| is_same(ours, theirs));
                (!is_taken).then_some(theirs)
            }
        }
    }

    /// The statement with the names of the table. Texts and quoted names stay as they are.
    pub(super) fn said<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        if !self.are_given() {
            return sql.into();
        }
        let mut said = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let end = match first {
                '\'' | '`' => end_of_quoted(rest, first),
                _ if is_of_word(first) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            let (token, behind) = rest.split_at(end);
            match self.theirs(token) {
                Some(name) => said += &quoted(name),
                None => said += token,
            }
            rest = behind;
        }
        said.into()
    }

    /// What stands for a word of ours, where that is another one.
    fn theirs(&self, word: &str) -> Option<&str> {
        match word {
            TABLE => self.table.as_deref(),
            column => self.columns.get(column).map(String::as_str),
        }
    }
}

/// The name of a table, a column, an index or a partition.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@')
}

/// Where what begins with a quote ends.
fn end_of_quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '\'' => is_escaped = true,
            // One that is doubled begins the next token, which is quoted as well.
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let columns = "id1=site, sensor_value=temp,ts=at`x".parse().unwrap();
        Names::new(Some(&"measured".parse().unwrap()), &columns)
    }

    #[test]
    fn names_stand_in_the_place_of_words_and_of_nothing_else() {
        for (ours, theirs) in [
            (
                "SELECT id, ts, id1 FROM sensor_readings WHERE id1 = ?",
                "SELECT id, `at``x`, `site` FROM `measured` WHERE `site` = ?",
            ),
            (
                "SELECT 'id1 '' ts \\' id1', `ts`, id1x, @ts, LENGTH(id1)",
                "SELECT 'id1 '' ts \\' id1', `ts`, id1x, @ts, LENGTH(`site`)",
            ),
            (
                "DELETE sensor_readings FROM sensor_readings",
                "DELETE `measured` FROM `measured`",
            ),
            ("'open", "'open"),
        ] {
            assert_eq!(names().said(ours), theirs);
            assert_eq!(Names::default().said(ours), ours);
        }
    }

    #[test]
    fn a_column_is_known_by_either_name() {
        let names = names();
        assert_eq!((names.column("id1"), names.column("id2")), ("site", "id2"));
        assert_eq!(names.ours("site"), Some("id1"));
        assert_eq!(names.ours("id2"), Some("id2"));
        // A column of this name that is another one's.
        assert_eq!(names.ours("id1"), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "temp",
            "value=temp",
            "ts=",
            "ts=a,ts=b",
            "ts=a,id=a",
            "ts=id",
            "ts=a.b",
        ] {
            assert!(text.parse::<ColumnNames>().is_err(), "{text}");
        }
        let swapped: ColumnNames = "id1=id2,id2=id1".parse().unwrap();
        assert_eq!(swapped.to_string(), "id1=id2,id2=id1");
        assert!("a.b".parse::<TableName>().is_err());
        assert!("".parse::<TableName>().is_err());
    }
}
