//! How values come about.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const MIDDLE: f64 = 20.0;
const SPREAD: f64 = 5.0;

/// The distribution of the values of one sensor type, written as a name and its numbers: `normal:20:5`. Values have two
/// digits behind the point, as sensors do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Values {
    /// `constant:VALUE`
    Constant {
        /// Always this.
        value: f64,
    },
    /// `uniform:FROM:TO`, all equally likely.
    Uniform {
        /// The lowest value.
        from: f64,
        /// The highest value.
        to: f64,
    },
    /// `normal:MEAN:DEVIATION`
    Normal {
        /// The middle.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
    /// `walk:START:STEP`: each series takes random steps, and is drawn back to where it started.
    Walk {
        /// Where every series starts.
        start: f64,
        /// The longest step.
        step: f64,
    },
    /// `sine:FROM:TO:SECONDS`: each series swings with its own phase.
    Sine {
        /// The lowest value.
        from: f64,
        /// The highest value.
        to: f64,
        /// Seconds from peak to peak.
        period_s: f64,
    },
}

impl Default for Values {
    fn default() -> Self {
        Self::Walk {
            start: MIDDLE,
            step: 0.1,
        }
    }
}

impl FromStr for Values {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no distribution: expected constant:VALUE, uniform:FROM:TO, normal:MEAN:DEVIATION, \
                 walk:START:STEP or sine:FROM:TO:SECONDS"
            )
        };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let numbers: Vec<f64> = parts
            .map(|part| part.parse().ok().filter(|number: &f64| number.is_finite()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let number = |place: usize, default: f64| numbers.get(place).copied().unwrap_or(default);
        let (values, most) = match name {
            "constant" => {
                let value = number(0, MIDDLE);
                (Self::Constant { value }, 1)
            }
            "uniform" => {
                let (from, to) = (number(0, MIDDLE - SPREAD), number(1, MIDDLE + SPREAD));
                (Self::Uniform { from, to }, 2)
            }
            "normal" => {
                let (mean, deviation) = (number(0, MIDDLE), number(1, SPREAD));
                (Self::Normal { mean, deviation }, 2)
            }
            "walk" => {
                let (start, step) = (number(0, MIDDLE), number(1, 0.1));
                (Self::Walk { start, step }, 2)
            }
            "sine" => {
                let (from, to) = (number(0, MIDDLE - SPREAD), number(1, MIDDLE + SPREAD));
                let period_s = number(2, 60.0);
                (Self::Sine { from, to, period_s }, 3)
            }
            _ => return Err(wrong()),
        };
        let fits = match values {
            Self::Uniform { from, to } => is_range(from, to),
            Self::Sine { from, to, period_s } => is_range(from, to) && period_s > 0.0,
            Self::Normal { deviation, .. } => deviation >= 0.0,
            Self::Walk { step, .. } => step > 0.0 && is_range(-step, step),
            Self::Constant { .. } => true,
        };
        match fits && numbers.len() <= most {
            true => Ok(values),
            false => Err(wrong()),
        }
    }
}

/// Whether a number can be drawn from it: it may not be longer than the largest one.
fn is_range(from: f64, to: f64) -> bool {
    from < to && (to - from).is_finite()
}

impl TryFrom<String> for Values {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Values> for String {
    fn from(values: Values) -> Self {
        values.to_string()
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant { value } => write!(f, "constant:{value}"),
            Self::Uniform { from, to } => write!(f, "uniform:{from}:{to}"),
            Self::Normal { mean, deviation } => write!(f, "normal:{mean}:{deviation}"),
            Self::Walk { start, step } => write!(f, "walk:{start}:{step}"),
            Self::Sine { from, to, period_s } => write!(f, "sine:{from}:{to}:{period_s}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_reads_as_it_is_written() {
        for text in [
            "constant:-3.5",
            "uniform:0:1",
            "normal:100:0.5",
            "walk:20:0.1",
            "sine:-1:1:3600",
        ] {
            assert_eq!(
                text.parse::<Values>().map(String::from),
                Ok(text.to_owned())
            );
        }
        assert_eq!("walk".parse(), Ok(Values::default()));
        for wrong in [
            "",
            "random",
            "uniform:2:1",
            "uniform:-1e308:1e308",
            "walk:0:1e308",
            "normal:a",
            "constant:1:2",
            "sine:0:1:0",
            "constant:NaN",
        ] {
            assert!(wrong.parse::<Values>().is_err(), "{wrong}");
        }
    }
}
