//! The setting `rollups`: which levels there are, and for how long they are kept.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::super::{OrNone, TimeSpan};

/// More would hardly bring an answer sooner, and each is written for every batch.
const LEVELS_MAX: usize = 4;

/// Buckets of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupLevel {
    pub every: TimeSpan,
    /// None for ever.
    pub keep: OrNone<TimeSpan>,
}

impl RollupLevel {
    #[must_use]
    pub fn every_us(&self) -> i64 {
        self.every.us()
    }

    /// As the database has it.
    #[must_use]
    pub fn every_s(&self) -> u32 {
        // At most a day.
        self.every.seconds() as u32
    }
}

impl fmt::Display for RollupLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.every, self.keep)
    }
}

impl FromStr for RollupLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (every, keep) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?} is not EVERY:KEEP, such as 1m:30d"))?;
        Ok(Self {
            every: every.parse()?,
            keep: keep.parse()?,
        })
    }
}

/// All levels, from the shortest buckets to the longest; none where there are no rollups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "String")]
pub struct RollupLevels(Vec<RollupLevel>);

impl RollupLevels {
    fn new(levels: Vec<RollupLevel>) -> Result<Self, String> {
        if levels.len() > LEVELS_MAX {
            return Err(format!(
                "{} levels, of {LEVELS_MAX} that there may be",
                levels.len()
            ));
        }
        for level in &levels {
            let every = level.every;
            if every < TimeSpan::MINUTE || TimeSpan::DAY.us() % every.us() != 0 {
                return Err(format!(
                    "every {every}, which is no part of a day from 1m to 1d"
                ));
            }
            if level.keep.0.is_some_and(|keep| keep < every) {
                return Err(format!(
                    "{level}, which is not kept for as long as one bucket"
                ));
            }
        }
        for pair in levels.windows(2) {
            let (short, long) = (&pair[0], &pair[1]);
            if long.every <= short.every || long.every.us() % short.every.us() != 0 {
                let (one, other) = (short.every, long.every);
                return Err(format!(
                    "{one} before {other}, but each has to be a multiple of the one before"
                ));
            }
            let is_kept_longer = match (short.keep.0, long.keep.0) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(short), Some(long)) => long >= short,
            };
            if !is_kept_longer {
                return Err(format!(
                    "{long}, but longer buckets are kept at least as long as shorter ones ({short})"
                ));
            }
        }
        Ok(Self(levels))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn all(&self) -> &[RollupLevel] {
        &self.0
    }

    /// That of the shortest buckets, which are made from readings.
    #[must_use]
    pub fn finest(&self) -> Option<&RollupLevel> {
        self.0.first()
    }

    #[must_use]
    pub fn coarsest(&self) -> Option<&RollupLevel> {
        self.0.last()
    }

    /// The one from which a level is made; None for the finest, which is made from readings.
    #[must_use]
    pub fn below(&self, level: &RollupLevel) -> Option<&RollupLevel> {
        let index = self.0.iter().position(|one| one == level)?;
        self.0.get(index.checked_sub(1)?)
    }

    /// The one that is made from a level.
    #[must_use]
    pub fn above(&self, level: &RollupLevel) -> Option<&RollupLevel> {
        let index = self.0.iter().position(|one| one == level)?;
        self.0.get(index + 1)
    }
}

impl fmt::Display for RollupLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, level) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "," };
            write!(f, "{before}{level}")?;
        }
        Ok(())
    }
}

impl FromStr for RollupLevels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let levels: Result<_, String> = text.split(',').map(str::parse).collect();
        Self::new(levels?)
    }
}

impl From<RollupLevels> for String {
    fn from(levels: RollupLevels) -> Self {
        levels.to_string()
    }
}

/// As a file has it: as on the command line, or as a list.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "none, EVERY:KEEP,… or a list of every and keep, such as [{every: 1m, keep: 30d}]"
)]
enum Given {
    Text(String),
    List(Vec<RollupLevel>),
}

impl TryFrom<Given> for RollupLevels {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        match given {
            Given::Text(text) => text.parse(),
            Given::List(levels) => Self::new(levels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_given_as_a_text_or_a_list() {
        let levels: RollupLevels = "1m:30d,1h:5y,1d:none".parse().unwrap();
        assert_eq!(levels.to_string(), "1m:30d,1h:1825d,1d:none");
        let of_list = "[{every: 1m, keep: 30d}, {every: 1h, keep: 5y}, {every: 1d, keep: none}]";
        let listed: RollupLevels = serde_norway::from_str(of_list).unwrap();
        assert_eq!(listed, levels);
        let written = serde_norway::to_string(&levels).unwrap();
        assert_eq!(
            serde_norway::from_str::<RollupLevels>(&written).unwrap(),
            levels
        );
        assert!("none".parse::<RollupLevels>().unwrap().is_empty());
        let all = levels.all();
        assert_eq!((levels.below(&all[0]), levels.above(&all[2])), (None, None));
        assert_eq!(
            (levels.below(&all[1]), levels.above(&all[1])),
            (Some(&all[0]), Some(&all[2]))
        );
    }

    #[test]
    fn levels_that_do_not_build_on_each_other_are_refused() {
        for (text, reason) in [
            ("", "is not EVERY:KEEP"),
            ("1m", "is not EVERY:KEEP"),
            ("1m:soon", "is not a length of time"),
            ("30s:1d", "no part of a day"),
            ("7m:1d", "no part of a day"),
            ("2d:3d", "no part of a day"),
            ("1h:1m", "not kept for as long as one bucket"),
            ("1h:1d,1m:1d", "multiple of the one before"),
            ("1m:1d,1m:1d", "multiple of the one before"),
            ("6m:1d,15m:1d", "multiple of the one before"),
            ("1m:30d,1h:7d", "at least as long"),
            ("1m:none,1h:7d", "at least as long"),
            ("1m:1d,2m:1d,4m:1d,8m:1d,16m:1d", "5 levels"),
        ] {
            let error = text.parse::<RollupLevels>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
