//! Numbers as they come in CSV files.

use std::str::FromStr;

/// The decimal sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// 1,020.6
    Point,
    /// 1.020,6
    Comma,
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "." => Ok(Self::Point),
            "," => Ok(Self::Comma),
            _ => Err("expected . or ,".to_owned()),
        }
    }
}

impl Decimal {
    pub(super) fn sign(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    fn separates_thousands(self, character: char) -> bool {
        match character {
            '.' => self == Self::Comma,
            ',' => self == Self::Point,
            // Blanks that do not break a line, wide and narrow.
            ' ' | '\'' | '\u{2019}' | '\u{a0}' | '\u{202f}' => true,
            _ => false,
        }
    }
}

/// Why a text is no value that can be sent; the sentence begins with the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoNumber {
    /// It is something else.
    Text,
    /// It is a number with another decimal sign, or with something between thousands.
    Otherwise,
    /// NaN or infinite.
    NotFinite,
    /// Beyond the largest or below the smallest double.
    OutOfRange,
}

impl NoNumber {
    /// Behind the text of the cell.
    pub(super) fn reason(&self, text: &str, decimal: Option<Decimal>) -> String {
        match self {
            Self::Text => format!("is no number: --null '{text}' skips such cells"),
            Self::NotFinite => format!("is no finite number: --null '{text}' skips such cells"),
            Self::OutOfRange => format!(
                "is beyond what a double can hold, about 2e-308 to 1.8e308: --null '{text}' skips such cells"
            ),
            Self::Otherwise => match decimal {
                None => "is no number with a decimal point: say --decimal , where the comma is the decimal sign, or \
                         --decimal . where it stands between thousands"
                    .to_owned(),
                Some(decimal) => format!(
                    "is no number with the decimal sign {} and groups of three digits: is --decimal right?",
                    decimal.sign()
                ),
            },
        }
    }
}

/// Reads a number. Only an explicit decimal sign allows separators between thousands: 1,020 may be about 1 or above 1,000.
pub(super) fn read(text: &str, decimal: Option<Decimal>) -> Result<f64, NoNumber> {
    let value = match decimal {
        None => text.parse().ok(),
        Some(decimal) => plain(text, decimal).and_then(|plain| plain.parse().ok()),
    };
    match value {
        Some(value) => judge(text, value),
        None => Err(otherwise(text)),
    }
}

/// What a text is that is no number as it stands.
fn otherwise(text: &str) -> NoNumber {
    let has_digits = text.contains(|digit: char| digit.is_ascii_digit());
    let may_belong = |character: char| character.is_ascii_digit() || " '.,+-".contains(character);
    match has_digits && text.contains(['.', ',']) && text.chars().all(may_belong) {
        true => NoNumber::Otherwise,
        false => NoNumber::Text,
    }
}

/// Whether a double holds about what the text says.
fn judge(text: &str, value: f64) -> Result<f64, NoNumber> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let has_digits = mantissa.contains(|digit: char| digit.is_ascii_digit());
    if !value.is_finite() {
        return Err(match has_digits {
            true => NoNumber::OutOfRange,
            false => NoNumber::NotFinite,
        });
    }
    let is_zero = !mantissa.contains(|digit: char| ('1'..='9').contains(&digit));
    match value == 0.0 && !is_zero {
        true => Err(NoNumber::OutOfRange),
        false => Ok(value),
    }
}

/// The number with a decimal point and nothing between thousands; `None` where the separators are not every three digits.
fn plain(text: &str, decimal: Decimal) -> Option<String> {
    let (whole, fraction) = match text.split_once(decimal.sign()) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut plain = match whole.find(|character| decimal.separates_thousands(character)) {
        None => whole.to_owned(),
        Some(first) => {
            let separator = whole[first..].chars().next()?;
            ungrouped(whole, separator)?
        }
    };
    if let Some(fraction) = fraction {
        // An exponent may follow, but no separator.
        if fraction.contains(|character| decimal.separates_thousands(character) || character == '.')
        {
            return None;
        }
        plain.push('.');
        plain.push_str(fraction);
    }
    Some(plain)
}

fn ungrouped(whole: &str, separator: char) -> Option<String> {
    let digits = whole.trim_start_matches(['+', '-']);
    let mut groups = digits.split(separator);
    let first = groups.next()?;
    let right = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    let first_is_right =
        (1..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_digit());
    match first_is_right && groups.all(right) {
        true => Some(whole.replace(separator, "")),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_with_its_decimal_sign() {
        let (point, comma) = (Some(Decimal::Point), Some(Decimal::Comma));
        for (text, decimal, value) in [
            ("20.5", None, 20.5),
            ("-3.5e-2", None, -0.035),
            ("+7", None, 7.0),
            ("0e999", None, 0.0),
            ("20,5", comma, 20.5),
            ("1.020,6", comma, 1_020.6),
            ("-1.234.567", comma, -1_234_567.0),
            ("1 020,5", comma, 1_020.5),
            ("1\u{202f}020,5", comma, 1_020.5),
            ("1'020.5", point, 1_020.5),
            ("1,020.6", point, 1_020.6),
            ("3,5e2", comma, 350.0),
        ] {
            assert_eq!(read(text, decimal), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_says_what_it_is() {
        let (point, comma) = (Some(Decimal::Point), Some(Decimal::Comma));
        for (text, decimal, expected) in [
            ("strong", None, NoNumber::Text),
            ("", None, NoNumber::Text),
            ("0x1F", None, NoNumber::Text),
            ("20 %", None, NoNumber::Text),
            ("1_000", None, NoNumber::Text),
            ("-", None, NoNumber::Text),
            ("NaN", None, NoNumber::NotFinite),
            ("-inf", None, NoNumber::NotFinite),
            ("Infinity", comma, NoNumber::NotFinite),
            ("1e999", None, NoNumber::OutOfRange),
            ("-1e999", point, NoNumber::OutOfRange),
            ("1e-999", None, NoNumber::OutOfRange),
            ("20,5", None, NoNumber::Otherwise),
            ("1,020.6", None, NoNumber::Otherwise),
            ("20.5", comma, NoNumber::Otherwise),
            ("1.02.3", comma, NoNumber::Otherwise),
            ("1,02", point, NoNumber::Otherwise),
            ("1,020.600,1", point, NoNumber::Otherwise),
        ] {
            assert_eq!(read(text, decimal), Err(expected), "{text}");
        }
    }
}
