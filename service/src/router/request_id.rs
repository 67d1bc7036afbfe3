//! Under which id the log and a trace speak of a request.

use hyper::HeaderMap;

/// A client's own id of its request, or ours.
pub(in crate::router) const REQUEST_ID: &str = "x-request-id";

/// The client's id of a request if it fits into a line of the log, otherwise a new one.
pub(in crate::router) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}", rand::random::<u64>()),
    }
}
