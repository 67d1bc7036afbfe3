//! Cursors: a place in the answer to one query, opaque to clients.
//!
//! base64url of: version, fingerprint of the query, the place as JSON, CRC32 of all that. The checksum guards against
//! damage; nothing is secret in a cursor, and a forged one only names another place in the client's own query.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use super::problem::{Kind, Problem};

const VERSION: u8 = 1;
/// Longer than any that this program makes.
const LONGEST: usize = 4_096;

/// What a cursor belongs to: the path and everything that decides which rows come in which order.
pub(super) fn fingerprint(query: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    query.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn encode(fingerprint: u64, place: &impl Serialize) -> String {
    sign(fingerprint, &serde_json::to_vec(place).unwrap_or_default())
}

/// A cursor whose place is whatever these bytes say.
pub(super) fn sign(fingerprint: u64, place: &[u8]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(fingerprint.to_be_bytes());
    bytes.extend(place);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode<P: DeserializeOwned>(fingerprint: u64, cursor: &str) -> Result<P, Problem> {
    let refused = |detail: &str| Problem::of("cursor", Kind::InvalidCursor, detail);
    let damaged = || refused("The cursor is damaged: take next_cursor as it is, or begin anew.");
    if cursor.len() > LONGEST {
        return Err(damaged());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .map_err(|_| damaged())?;
    let (signed, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(signed).to_be_bytes() != *checksum {
        return Err(damaged());
    }
    let (&[version], rest) = signed.split_first_chunk::<1>().ok_or_else(damaged)?;
    let (of_query, place) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    if version != VERSION || u64::from_be_bytes(*of_query) != fingerprint {
        return Err(refused(
            "The cursor belongs to another query: keep every parameter but limit as it was, or begin anew.",
        ));
    }
    serde_json::from_slice(place).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_place(fingerprint: u64, place: (i64, String)) {
            let cursor = encode(fingerprint, &place);
            prop_assert_eq!(decode::<(i64, String)>(fingerprint, &cursor), Ok(place.clone()));
            prop_assert!(decode::<(i64, String)>(fingerprint ^ 1, &cursor).is_err());
        }

        #[test]
        fn no_text_that_claims_to_be_a_cursor_panics(text: String) {
            let _ = decode::<(i64, String)>(0, &text);
        }

        #[test]
        fn a_damaged_cursor_is_refused(place: i64, at: prop::sample::Index) {
            let mut cursor = encode(7, &place).into_bytes();
            let at = at.index(cursor.len());
            cursor[at] = if cursor[at] == b'A' { b'B' } else { b'A' };
            let cursor = String::from_utf8(cursor).expect("ascii");
            prop_assert!(decode::<i64>(7, &cursor).is_err());
        }
    }
}
