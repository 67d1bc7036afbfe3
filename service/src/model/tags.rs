//! What people say of a series: its site, its unit, its line.

use std::collections::BTreeMap;

/// Tags of a series, each once.
pub type Tags = BTreeMap<String, String>;

/// Tags of one series at the most.
pub const TAGS_MAX: usize = 32;
/// Longest name of a tag, characters.
pub const TAG_NAME_MAX_CHARS: usize = 64;
/// Longest value of a tag, characters.
pub const TAG_VALUE_MAX_CHARS: usize = 255;

/// What is wrong with the name of a tag, as the end of a sentence.
#[must_use]
pub fn fault_of_tag_name(name: &str) -> Option<String> {
    let is_fit = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
    let fits = (1..=TAG_NAME_MAX_CHARS).contains(&name.len()) && name.chars().all(is_fit);
    (!fits).then(|| {
        format!(
            "must have 1 to {TAG_NAME_MAX_CHARS} letters and digits of ASCII, and _ . - besides"
        )
    })
}

/// What is wrong with the value of a tag, as the end of a sentence.
#[must_use]
pub fn fault_of_tag_value(value: &str) -> Option<String> {
    if value.is_empty() || value.chars().nth(TAG_VALUE_MAX_CHARS).is_some() {
        return Some(format!("must have 1 to {TAG_VALUE_MAX_CHARS} characters"));
    }
    // A value is compared byte for byte: nothing that a reader could overlook is let in.
    let is_plain = value.trim() == value && !value.chars().any(char::is_control);
    (!is_plain)
        .then(|| "must neither begin nor end with a blank, nor hold a control character".to_owned())
}

/// What is wrong with tags that are told together, as a sentence that begins with which; None when nothing is.
#[must_use]
pub fn fault_of_tags(tags: &Tags) -> Option<String> {
    if tags.len() > TAGS_MAX {
        return Some(format!(
            "{} tags, and a series may have {TAGS_MAX}",
            tags.len()
        ));
    }
    tags.iter().find_map(|(name, value)| {
        if let Some(fault) = fault_of_tag_name(name) {
            return Some(format!("the tag {name:?} {fault}"));
        }
        let fault = fault_of_tag_value(value)?;
        Some(format!("the value of the tag {name:?} {fault}"))
    })
}

/// Tags that a producer tells of a series of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedSeries {
    /// Which of the message's series.
    pub index: u32,
    pub tags: Tags,
}

/// What is to become of tags: null removes one, and those that are not named stay.
pub type TagChanges = BTreeMap<String, Option<String>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain_and_values_are_whole_texts() {
        for name in ["site", "a", "line.7-b_c", &"n".repeat(64)] {
            assert_eq!(fault_of_tag_name(name), None, "{name}");
        }
        for name in ["", "a b", "a:b", "é", &"n".repeat(65)] {
            assert!(fault_of_tag_name(name).is_some(), "{name}");
        }
        for value in ["north", "Süd, Halle 3: \"links\"", &"🌡".repeat(255)] {
            assert_eq!(fault_of_tag_value(value), None, "{value}");
        }
        for value in ["", " a", "a ", "a\nb", &"🌡".repeat(256)] {
            assert!(fault_of_tag_value(value).is_some(), "{value:?}");
        }
    }
}
