//! How many series there may be.

use std::fmt;

/// Bounds against producers that make series without end, a number in a name for example.
#[derive(Clone, Copy, Debug)]
pub struct SeriesBounds {
    /// In the table.
    pub max: u32,
    /// New ones of a principal within an hour.
    pub new_per_hour: u32,
}

/// The bound that lets a series not in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesBound {
    Max(u32),
    NewPerHour(u32),
    /// Every number is given.
    Numbers,
}

impl SeriesBound {
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Max(_) => "series.max",
            Self::NewPerHour(_) => "series.new_per_hour",
            Self::Numbers => "none",
        }
    }
}

impl fmt::Display for SeriesBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        match self {
            Self::Max(max) => write!(
                f,
                "the series is new, and there are {max} already, as many as {setting} allows"
            ),
            Self::Numbers => write!(
                f,
                "the series is new, and all {} numbers of series are given",
                u32::MAX
            ),
            Self::NewPerHour(max) => write!(
                f,
                "the series is new, and its principal has brought {max} new ones within an hour, as many as {setting} \
                 allows"
            ),
        }
    }
}
