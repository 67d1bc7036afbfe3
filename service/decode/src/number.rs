//! Numbers as text: what is one, and what only looks like one.

/// Why a text gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoNumber {
    Malformed,
    /// As malformed, and it is plain what was meant.
    DecimalComma,
    /// `NaN` and infinities by name, and what is too large for a double.
    NotFinite,
    /// An integer that is longer than the one that its sender takes it for.
    Not64Bits,
}

impl NoNumber {
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Malformed => "a number",
            Self::DecimalComma => "a number with a point, not a comma",
            Self::NotFinite => "a finite number, at most 1.8e308",
            Self::Not64Bits => "an integer of 64 bits",
        }
    }
}

/// Reads a double: digits with an optional sign, point and exponent, blanks around them. The nearest double is taken; an
/// integer beyond 2^53 is rounded to one, and what is smaller than the smallest becomes 0.
#[inline]
pub(crate) fn value(text: &str) -> Result<f64, NoNumber> {
    // Rust reads `inf`, `nan` and `infinity` as well.
    let is_digits = match text.as_bytes() {
        [b'-' | b'+', first, ..] | [first, ..] => matches!(first, b'0'..=b'9' | b'.'),
        [] => false,
    };
    match text.parse::<f64>() {
        Ok(value) if is_digits && value.is_finite() => Ok(value),
        _ => unusual_value(text),
    }
}

#[cold]
fn unusual_value(text: &str) -> Result<f64, NoNumber> {
    let trimmed = text.trim_matches([' ', '\t']);
    if trimmed.len() < text.len() {
        return value(trimmed);
    }
    if let Ok(value) = text.parse::<f64>() {
        debug_assert!(!value.is_finite(), "{text}");
        return Err(NoNumber::NotFinite);
    }
    let with_point = text.replacen(',', ".", 1);
    Err(match value_is_plain(&with_point) && text.contains(',') {
        true => NoNumber::DecimalComma,
        false => NoNumber::Malformed,
    })
}

fn value_is_plain(text: &str) -> bool {
    text.len() < 64 && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The integers of line protocol, which must fit what their sender took them for.
#[inline]
pub(crate) fn signed(digits: &str) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 2^53 the nearest double is what a column of doubles can hold"
    )]
    digits.parse::<i64>().ok().map(|integer| integer as f64)
}

#[inline]
pub(crate) fn unsigned(digits: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "as in signed")]
    digits.parse::<u64>().ok().map(|integer| integer as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_nearest_double() {
        for (text, expected) in [
            ("21.5", 21.5),
            ("-1e-3", -0.001),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            (" 7\t", 7.0),
            ("1E5", 1e5),
            ("0.1000000000000000055511151231257827", 0.1),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("1e-400", 0.0),
            ("1.7976931348623157e308", f64::MAX),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert!(value("-0").unwrap().is_sign_negative());
    }

    #[test]
    fn what_is_no_number_says_why() {
        for text in ["inf", "-Infinity", "NaN", "1e400", &"9".repeat(400)] {
            assert_eq!(value(text), Err(NoNumber::NotFinite), "{text}");
        }
        for text in ["21,5", "-0,25", " 1,0 "] {
            assert_eq!(value(text), Err(NoNumber::DecimalComma), "{text}");
        }
        for text in [
            "", " ", "abc", "0x10", "1_000", "1.2.3", "1,2,3", "--1", "1e", "٣", "21.5\0", "1 2",
        ] {
            assert_eq!(value(text), Err(NoNumber::Malformed), "{text}");
        }
    }
}
