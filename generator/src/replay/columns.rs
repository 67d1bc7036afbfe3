//! Which columns of a file are what.

use super::rows::Rows;
use crate::error::CsvError;

/// How the file is laid out.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Long(LongColumns),
    Wide(WideColumns),
}

/// Names of the columns of a long file.
#[derive(Debug, Clone)]
pub(super) struct LongColumns {
    pub(super) time: String,
    pub(super) value: String,
    pub(super) sensor_type: String,
    pub(super) id1: String,
    pub(super) id2: String,
}

/// Names of the columns of a wide file, and what all its readings share.
#[derive(Debug, Clone)]
pub(super) struct WideColumns {
    pub(super) time: String,
    /// All columns that have a name and numbers, but the time, when it is empty.
    pub(super) types: Vec<String>,
    pub(super) id1: i32,
    pub(super) id2: String,
}

/// Where the cells are.
#[derive(Debug, Clone)]
pub(super) enum Columns {
    Long {
        time: usize,
        value: usize,
        sensor_type: usize,
        id1: usize,
        id2: usize,
    },
    Wide {
        time: usize,
        values: Vec<ValueColumn>,
        id1: i32,
        id2: String,
    },
}

/// A column of a wide file.
#[derive(Debug, Clone)]
pub(super) struct ValueColumn {
    pub(super) cell: usize,
    pub(super) kind: Kind,
    /// Cells without a value.
    pub(super) skipped: u64,
}

/// What a column of a wide file has.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Nothing so far.
    Unknown,
    Numbers,
    /// No number so far, and what is wrong with its first text if that should have been one.
    Text(Box<CsvError>),
}

impl Columns {
    /// Finds the columns by the header. `notes` gets what is left out.
    pub(super) fn find(
        rows: &mut Rows,
        form: &Form,
        notes: &mut Vec<String>,
    ) -> Result<Self, CsvError> {
        match form {
            Form::Long(names) => Self::find_long(rows, names, notes),
            Form::Wide(names) => Self::find_wide(rows, names, notes),
        }
    }

    fn find_long(
        rows: &mut Rows,
        names: &LongColumns,
        notes: &mut Vec<String>,
    ) -> Result<Self, CsvError> {
        let time = find(rows, &names.time, "--time-column")?;
        let id1 = find(rows, &names.id1, "--id1-column")?;
        let id2 = find(rows, &names.id2, "--id2-column")?;
        let sensor_type = find(rows, &names.sensor_type, "--type-column")?;
        let value = find(rows, &names.value, "--value-column")?;
        let used = [time, id1, id2, sensor_type, value];
        let others: Vec<String> = (0..rows.header().len())
            .filter(|cell| !used.contains(cell))
            .map(|cell| rows.column(cell))
            .collect();
        if !others.is_empty() {
            notes.push(left_out(rows, "", &others));
        }
        Ok(Self::Long {
            time,
            value,
            sensor_type,
            id1,
            id2,
        })
    }

    fn find_wide(
        rows: &mut Rows,
        names: &WideColumns,
        notes: &mut Vec<String>,
    ) -> Result<Self, CsvError> {
        let time = find(rows, &names.time, "--time-column")?;
        let mut values = Vec::new();
        for name in &names.types {
            values.push(ValueColumn::new(
                find(rows, name, "--types")?,
                Kind::Numbers,
            ));
        }
        if names.types.is_empty() {
            let (named, nameless): (Vec<usize>, Vec<usize>) = (0..rows.header().len())
                .filter(|cell| *cell != time)
                .partition(|cell| rows.header().get(*cell) != Some(""));
            for cell in named {
                let name = rows.column(cell);
                find(rows, &name, "--types")?;
                values.push(ValueColumn::new(cell, Kind::Unknown));
            }
            if !nameless.is_empty() {
                let numbers: Vec<String> = nameless.iter().map(|cell| rows.column(*cell)).collect();
                notes.push(left_out(rows, " without a name", &numbers));
            }
        }
        if values.is_empty() {
            let reason = format!("there is no column of values beside {:?}", names.time);
            return Err(with_hint(rows, reason));
        }
        Ok(Self::Wide {
            time,
            values,
            id1: names.id1,
            id2: names.id2.clone(),
        })
    }

    /// Leaves out the columns of a wide file that turned out to be text, once all of it was read.
    pub(super) fn without_text(
        mut self,
        rows: &Rows,
        notes: &mut Vec<String>,
    ) -> Result<Self, CsvError> {
        let Self::Wide { values, .. } = &mut self else {
            return Ok(self);
        };
        let (kept, texts): (Vec<_>, Vec<_>) = std::mem::take(values)
            .into_iter()
            .partition(|column| !matches!(column.kind, Kind::Text(_)));
        *values = kept;
        let names: Vec<String> = texts.iter().map(|text| rows.column(text.cell)).collect();
        let first = texts.into_iter().find_map(|text| match text.kind {
            Kind::Text(mistake) => Some(*mistake),
            Kind::Unknown | Kind::Numbers => None,
        });
        match first {
            // Nothing but text: then the first of it should have been a number.
            Some(mistake) if values.is_empty() => Err(mistake),
            Some(_) => {
                notes.push(left_out(rows, " of text", &names));
                Ok(self)
            }
            None => Ok(self),
        }
    }

    /// Cells without a value that were read so far.
    pub(super) fn skipped(&self) -> u64 {
        match self {
            Self::Long { .. } => 0,
            Self::Wide { values, .. } => values.iter().map(|column| column.skipped).sum(),
        }
    }
}

impl ValueColumn {
    fn new(cell: usize, kind: Kind) -> Self {
        Self {
            cell,
            kind,
            skipped: 0,
        }
    }
}

fn left_out(rows: &Rows, which: &str, columns: &[String]) -> String {
    let (noun, verb) = match columns.len() {
        1 => ("column", "is"),
        _ => ("columns", "are"),
    };
    let file = rows.file();
    format!(
        "{file}: the {noun}{which} {verb} left out: {}",
        columns.join(", ")
    )
}

fn find(rows: &mut Rows, name: &str, flag: &str) -> Result<usize, CsvError> {
    let header = rows.header();
    let mut cells = (0..header.len()).filter(|cell| header.get(*cell) == Some(name));
    match (cells.next(), cells.next()) {
        (Some(cell), None) => Ok(cell),
        (Some(first), Some(second)) => {
            let reason = format!(
                "it stands twice in the header, as columns {} and {}: rename one, or name others with {flag}",
                first + 1,
                second + 1
            );
            Err(rows.of_header(Some(name), reason))
        }
        (None, _) => {
            let titles: Vec<&str> = header.iter().collect();
            let titles = titles.join(", ");
            let reason =
                format!("there is no column {name:?}, only {titles}: {flag} names another");
            Err(with_hint(rows, reason))
        }
    }
}

/// A mistake in the header, or the likelier one that its cells are separated by something else.
fn with_hint(rows: &mut Rows, reason: String) -> CsvError {
    let header = rows.header();
    let separates = |character: &char| header.iter().any(|cell| cell.contains(*character));
    let other = match header.len() {
        1 => [';', '\t', '|', ','].into_iter().find(separates),
        _ => None,
    };
    let Some(other) = other else {
        return rows.of_header(None, reason);
    };
    let name = match other {
        '\t' => "tab".to_owned(),
        other => other.to_string(),
    };
    let titles = header.iter().collect::<String>();
    // Where cells are not separated by commas, a comma in a line of data is most likely a decimal sign.
    let decimal = match other != ',' && rows.peek() && (rows.contains(',') || rows.cells() > 1) {
        true => ", and --decimal ',' where numbers have decimal commas",
        false => "",
    };
    let reason = format!("the header is one cell, {titles:?}: say --delimiter '{name}'{decimal}");
    rows.of_header(None, reason)
}
