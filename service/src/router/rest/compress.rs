//! gzip. Whoever calls this is one of the workers.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use warp::http::{HeaderMap, header};

/// Smaller bodies do not gain by compression.
pub(super) const COMPRESS_FROM_BYTES: usize = 1_024;

pub(super) fn gzip(body: &[u8], level: Compression) -> Vec<u8> {
    tracing::trace!(bytes = body.len(), "compressed");
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // A vector takes every write.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Whether a client says that it takes gzip.
pub(super) fn takes_gzip(asked: &HeaderMap) -> bool {
    let encodings = asked.get_all(header::ACCEPT_ENCODING).iter();
    let mut encodings = encodings
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    encodings.any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let refused = weight.replace(' ', "");
        let refused = matches!(refused.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}
