//! What a producer says of its series. The service ends a call whose tags do not fit, so they are looked at before they are sent.

use std::collections::HashMap;

/// The tags of one series.
pub(super) type Tags = HashMap<String, String>;

const TAGS_MAX: usize = 32;
const NAME_MAX_CHARS: usize = 64;
const VALUE_MAX_CHARS: usize = 255;

/// What is wrong with tags as the contract has them; None when nothing is.
pub(super) fn fault(tags: &Tags) -> Option<String> {
    if tags.len() > TAGS_MAX {
        let count = tags.len();
        return Some(format!("are {count}, and a series may have {TAGS_MAX}"));
    }
    tags.iter().find_map(|(name, value)| {
        if !is_name(name) {
            return Some(format!(
                "have the name {name:?}: it must have 1 to {NAME_MAX_CHARS} letters and digits of ASCII, and _ . - besides"
            ));
        }
        let is_long = value.chars().nth(VALUE_MAX_CHARS).is_some();
        let is_plain = value.trim() == value && !value.chars().any(char::is_control);
        let reason = match (value.is_empty() || is_long, is_plain) {
            (false, true) => return None,
            (true, _) => format!("must have 1 to {VALUE_MAX_CHARS} characters"),
            (false, false) => {
                "must neither begin nor end with a blank, nor hold a control character".to_owned()
            }
        };
        Some(format!("have a value of {name:?} that {reason}"))
    })
}

fn is_name(name: &str) -> bool {
    let is_fit = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
    (1..=NAME_MAX_CHARS).contains(&name.len()) && name.chars().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(name: &str, value: &str) -> Option<String> {
        fault(&Tags::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn names_are_short_and_plain_and_values_are_whole_texts() {
        for name in ["site", "a", "line.7-b_c", &"n".repeat(64)] {
            assert_eq!(fault_of(name, "x"), None, "{name}");
        }
        for name in ["", "a b", "a:b", "é", &"n".repeat(65)] {
            assert!(fault_of(name, "x").is_some(), "{name}");
        }
        for value in ["north", "Süd, Halle 3: \"links\"", &"🌡".repeat(255)] {
            assert_eq!(fault_of("a", value), None, "{value}");
        }
        for value in ["", " a", "a ", "a\nb", &"🌡".repeat(256)] {
            assert!(fault_of("a", value).is_some(), "{value:?}");
        }
        let many = |count: usize| {
            (0..count)
                .map(|n| (n.to_string(), "x".to_owned()))
                .collect()
        };
        assert_eq!(fault(&many(32)), None);
        assert!(fault(&many(33)).is_some());
    }
}
