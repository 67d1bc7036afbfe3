//! Tags as `id2`: a text that people can read, and that no other set of tags has.
//!
//! | tags | `id2` |
//! |---|---|
//! | none | `-` |
//! | `id2=BOILER` | `BOILER` |
//! | `host=edge-7`, `cpu=cpu0` | `cpu=cpu0,host=edge-7` |
//! | `id2=BOILER`, `host=edge-7` | `BOILER,host=edge-7` |
//! | `site=a,b` | `site=a\,b` |
//!
//! An `id2` that stands alone is taken as it is, unless it could be one of the other texts. A backslash stands before commas,
//! equals signs and backslashes that belong to a key or a value. Control characters, and blanks at either end, which no table
//! takes, are written as `\u` and four hexadecimal digits.

use std::{borrow::Cow, fmt::Write};

/// A key and its value, as they were meant: without escapes.
pub(crate) type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The tags that a mapping without a word about them takes for the fields of these names.
pub(crate) const ID1: &str = "id1";
pub(crate) const ID2: &str = "id2";
/// What stands for no tags at all.
const NONE: &str = "-";

/// Puts tags in the order of their keys, byte by byte.
///
/// # Errors
/// The key that is there twice.
#[inline]
pub(crate) fn sort<'t>(tags: &'t mut [Tag<'_>]) -> Result<(), &'t str> {
    // Clients send them sorted.
    if tags.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Ok(());
    }
    tags.sort_unstable_by(|(before, _), (after, _)| before.cmp(after));
    match tags.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(&pair[0].0),
        None => Ok(()),
    }
}

/// Writes what tells these tags from all others. `others` are sorted.
pub(crate) fn write_id2<'t>(
    id2: Option<&str>,
    others: impl Iterator<Item = &'t Tag<'t>>,
    out: &mut String,
) {
    out.clear();
    let mut others = others.peekable();
    if others.peek().is_none() {
        match id2 {
            None => out.push_str(NONE),
            Some(id2) if is_plain_alone(id2) => out.push_str(id2),
            Some(NONE) => out.push_str("\\u002d"),
            Some(id2) => escape(id2, out),
        }
    } else {
        if let Some(id2) = id2 {
            escape(id2, out);
        }
        for (key, value) in others {
            if !out.is_empty() {
                out.push(',');
            }
            escape(key, out);
            out.push('=');
            escape(value, out);
        }
    }
    escape_outer_blanks(out);
}

fn is_plain_alone(id2: &str) -> bool {
    id2 != NONE
        && !id2
            .chars()
            .any(|letter| matches!(letter, '=' | '\\') || letter.is_control())
        && id2.trim().len() == id2.len()
}

/// Bytes that may have to be escaped. The second block of control characters begins with 0xc2 in UTF-8.
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b',' | b'=' | b'\\' | ..b' ' | 0x7f | 0xc2);
        byte += 1;
    }
    table
};

#[inline]
fn escape(text: &str, out: &mut String) {
    let is_plain = !text.bytes().any(|byte| IS_SPECIAL[usize::from(byte)]);
    match is_plain {
        true => out.push_str(text),
        false => text.chars().for_each(|letter| escape_char(letter, out)),
    }
}

fn escape_char(letter: char, out: &mut String) {
    match letter {
        ',' | '=' | '\\' => out.extend(['\\', letter]),
        _ if letter.is_control() => write_code(letter, out),
        _ => out.push(letter),
    }
}

fn write_code(letter: char, out: &mut String) {
    let written = write!(out, "\\u{:04x}", u32::from(letter));
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[inline]
fn escape_outer_blanks(out: &mut String) {
    let is_blank = |letter: Option<char>| letter.is_some_and(char::is_whitespace);
    if is_blank(out.chars().next()) || is_blank(out.chars().next_back()) {
        let text = std::mem::take(out);
        let last = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
        for (at, letter) in text.char_indices() {
            match letter.is_whitespace() && (at == 0 || at == last) {
                true => write_code(letter, out),
                false => out.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id2_of(tags: &[(&str, &str)]) -> String {
        let mut tags: Vec<Tag<'_>> = tags.iter().map(|&(k, v)| (k.into(), v.into())).collect();
        sort(&mut tags).unwrap();
        let id2 = tags.iter().find(|(key, _)| key == ID2);
        let mut out = String::new();
        let others = tags.iter().filter(|(key, _)| key != ID2);
        write_id2(id2.map(|(_, value)| value.as_ref()), others, &mut out);
        out
    }

    #[test]
    fn tags_are_written_sorted() {
        assert_eq!(id2_of(&[]), "-");
        assert_eq!(id2_of(&[("id2", "BOILER")]), "BOILER");
        assert_eq!(
            id2_of(&[("host", "edge-7"), ("cpu", "cpu0")]),
            "cpu=cpu0,host=edge-7"
        );
        assert_eq!(
            id2_of(&[("host", "edge-7"), ("id2", "BOILER")]),
            "BOILER,host=edge-7"
        );
        assert_eq!(
            id2_of(&[("id2", "north wing, hall 2")]),
            "north wing, hall 2"
        );
        assert_eq!(
            id2_of(&[("site", "north wing, hall=2")]),
            r"site=north wing\, hall\=2"
        );
    }

    #[test]
    fn texts_that_could_be_others_are_escaped() {
        assert_eq!(id2_of(&[("id2", "-")]), r"\u002d");
        assert_eq!(id2_of(&[("id2", "host=edge-7")]), r"host\=edge-7");
        assert_eq!(id2_of(&[("id2", r"a\b")]), r"a\\b");
        assert_eq!(id2_of(&[("id2", "a\0")]), r"a\u0000");
        assert_eq!(id2_of(&[("a", "b\u{85}")]), r"a=b\u0085");
        assert_eq!(id2_of(&[("a", "b ")]), r"a=b\u0020");
        assert_eq!(id2_of(&[("id2", "\u{3000}")]), r"\u3000");
    }

    #[test]
    fn a_key_that_is_there_twice_is_said() {
        let mut tags: Vec<Tag<'_>> = vec![
            ("b".into(), "1".into()),
            ("a".into(), "1".into()),
            ("b".into(), "2".into()),
        ];
        assert_eq!(sort(&mut tags), Err("b"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Few letters, so that texts meet often.
        #[test]
        fn different_tags_never_have_the_same_id2(
            sets in prop::collection::vec(
                prop::collection::btree_map(r"(id2|a|b|[a,=\\ ]{1,2})", r"[a,=\\u \-0]{1,4}", 0..3),
                1..200,
            )
        ) {
            let mut seen = HashMap::new();
            for tags in sets {
                let list: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let id2 = id2_of(&list);
                prop_assert_eq!(id2.trim(), id2.as_str());
                prop_assert!(!id2.is_empty() && !id2.contains(char::is_control));
                let before = seen.entry(id2).or_insert_with(|| tags.clone());
                prop_assert_eq!(&*before, &tags);
            }
        }
    }
}
