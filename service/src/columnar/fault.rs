//! What is wrong with a table that is read.

use std::fmt;

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Of the readings, from 1; none of what is no reading.
    pub row: Option<u64>,
    pub column: Option<&'static str>,
    pub reason: String,
}

impl Fault {
    pub fn of_file(reason: impl Into<String>) -> Self {
        Self {
            row: None,
            column: None,
            reason: reason.into(),
        }
    }

    pub fn of_column(column: &'static str, reason: impl Into<String>) -> Self {
        Self {
            column: Some(column),
            ..Self::of_file(reason)
        }
    }

    pub fn at(row: u64, column: &'static str, reason: impl Into<String>) -> Self {
        Self {
            row: Some(row),
            ..Self::of_column(column, reason)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}, ")?;
        }
        if let Some(column) = self.column {
            write!(f, "column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}
