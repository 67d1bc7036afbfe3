//! Texts that are longer than their column: a beginning that people recognise, and a hash that tells them apart.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::reading::Name;

/// How many characters the columns hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub sensor_type_chars: usize,
    pub id2_chars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sensor_type_chars: 50,
            id2_chars: 50,
        }
    }
}

/// 128 bits of SHA-256, in base32.
const HASH_BYTES: usize = 16;
const HASH_CHARS: usize = 26;
/// Stands before the hash.
const MARK: char = '~';
/// With less than one character of the beginning nothing is shortened, and whoever stores it refuses what is too long.
const LEAST_LIMIT: usize = HASH_CHARS + 2;

/// Makes `text` fit, with `room` to write to. A text that could be taken for a shortened one is shortened itself, so no two
/// texts come out the same.
#[inline]
pub(crate) fn fit<'a>(text: &'a str, max_chars: usize, room: &'a mut String) -> Name<'a> {
    if text.len() < max_chars || max_chars < LEAST_LIMIT {
        return Name { text, full: None };
    }
    fit_long(text, max_chars, room)
}

fn fit_long<'a>(text: &'a str, max_chars: usize, room: &'a mut String) -> Name<'a> {
    let chars = text.chars().take(max_chars + 1).count();
    if chars < max_chars || (chars == max_chars && !looks_shortened(text)) {
        return Name { text, full: None };
    }
    let kept = max_chars - HASH_CHARS - 1;
    let end = text
        .char_indices()
        .nth(kept)
        .map_or(text.len(), |(at, _)| at);
    room.clear();
    room.push_str(&text[..end]);
    room.push(MARK);
    BASE32_NOPAD.encode_append(&Sha256::digest(text.as_bytes())[..HASH_BYTES], room);
    Name {
        text: room,
        full: Some(text),
    }
}

fn looks_shortened(text: &str) -> bool {
    let Some(end) = text.len().checked_sub(HASH_CHARS) else {
        return false;
    };
    text.as_bytes()[..end].last() == Some(&(MARK as u8))
        && text.as_bytes()[end..]
            .iter()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(text: &str, max_chars: usize) -> (String, Option<String>) {
        let mut room = String::new();
        let name = fit(text, max_chars, &mut room);
        (name.text.to_owned(), name.full.map(str::to_owned))
    }

    #[test]
    fn what_fits_stays() {
        for text in ["", "BOILER", &"é".repeat(50), &"🌡".repeat(50)] {
            assert_eq!(shortened(text, 50), (text.to_owned(), None));
        }
    }

    #[test]
    fn what_is_too_long_is_its_beginning_and_a_hash() {
        let text = "a".repeat(51);
        let (short, full) = shortened(&text, 50);
        // printf 'a%.0s' $(seq 51) | sha256sum, the first 16 bytes in base32
        assert_eq!(short, "aaaaaaaaaaaaaaaaaaaaaaa~X7C74DRWAFJMVGGFB6VU5V7DA4");
        assert_eq!(full, Some(text));
        let (of_wide, full) = shortened(&"🌡".repeat(51), 50);
        assert_eq!(of_wide.chars().count(), 50);
        assert!(full.is_some());
    }

    #[test]
    fn texts_that_differ_at_their_end_stay_apart() {
        let beginning = "x".repeat(60);
        assert_ne!(
            shortened(&format!("{beginning}1"), 50).0,
            shortened(&format!("{beginning}2"), 50).0
        );
    }

    #[test]
    fn nobody_can_write_a_shortened_text() {
        let text = "a".repeat(51);
        let (short, _) = shortened(&text, 50);
        let (again, full) = shortened(&short, 50);
        assert_ne!(again, short);
        assert_eq!(full, Some(short));
    }

    #[test]
    fn a_limit_without_place_for_a_hash_shortens_nothing() {
        let text = "a".repeat(99);
        assert_eq!(shortened(&text, 27), (text.clone(), None));
        assert_eq!(shortened(&text, 28).0.len(), 28);
    }
}
