//! Tags by which a client asks whether an answer is still the one that it has. Weak: the same, whether compressed or not.

use std::hash::{DefaultHasher, Hasher as _};

use warp::http::{HeaderMap, header};

pub(super) fn of(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:016x}\"", hasher.finish())
}

/// Whether the client has what this tag stands for.
pub(super) fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let asked = asked.get(header::IF_NONE_MATCH);
    asked
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|tag| {
                tag == "*" || tag.trim_start_matches("W/") == etag.trim_start_matches("W/")
            })
        })
}
