//! Names that are longer than their column.

/// What is kept of a text, in characters: a statement with some of them stays below the smallest packet, 1 MiB.
const MAX_CHARS: usize = 8_192;

/// A name as it stands in the column, and all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongName {
    name: String,
    full_name: String,
}

impl LongName {
    /// Of a text, as much as is kept of it.
    #[must_use]
    pub fn of(name: &str, full_name: &str) -> Self {
        Self {
            name: name.to_owned(),
            full_name: full_name.chars().take(MAX_CHARS).collect(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.full_name
    }
}
