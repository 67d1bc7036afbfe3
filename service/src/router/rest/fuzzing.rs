//! Query strings, cursors and bodies, without a request around them.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    cursor,
    new_values::NewValues,
    params::Params,
    selection::{self, By},
    time::parse_width,
};
use crate::model::{BucketKey, Place, QuarantineKey};

const PAGING: [&str; 4] = ["limit", "order", "cursor", "bucket"];

/// Reads a query string for each kind of path.
///
/// # Panics
/// When a selection that was read is not read again from how a client would write it.
pub fn query(text: &str) {
    for by in [By::Time, By::Ids, By::IdsTime, By::TimeMaybeIds] {
        let Ok(params) = Params::parse(text, &by.names(&PAGING)) else {
            continue;
        };
        let _ = (selection::limit(&params), selection::any_limit(&params));
        let _ = (selection::order(&params), params.flag("order"));
        let _ = params
            .get("bucket")
            .map(|it| it.and_then(|it| parse_width(&it)));
        let Ok(selection) = selection::selection(&params, by) else {
            continue;
        };
        let written = selection::written(&selection);
        let params = Params::parse(&written, &by.names(&PAGING));
        let read = params.and_then(|params| selection::selection(&params, by));
        assert_eq!(read, Ok(selection), "{written}");
    }
}

/// Reads a cursor as it comes, and one whose place is these bytes.
///
/// # Panics
/// When a place that was read is not read again from its own cursor.
pub fn cursor(bytes: &[u8]) {
    place::<Place>(bytes);
    place::<BucketKey>(bytes);
    place::<QuarantineKey>(bytes);
    place::<String>(bytes);
}

fn place<P: DeserializeOwned + Serialize>(bytes: &[u8]) {
    const QUERY: u64 = 7;
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = cursor::decode::<P>(QUERY, text);
    }
    let Ok(place) = cursor::decode::<P>(QUERY, &cursor::sign(QUERY, bytes)) else {
        return;
    };
    let own = cursor::encode(QUERY, &place);
    let again: P = cursor::decode(QUERY, &own).expect("its own cursor is read");
    assert_eq!(cursor::encode(QUERY, &again), own);
    assert!(cursor::decode::<P>(QUERY + 1, &own).is_err());
}

/// Reads the body of an update.
pub fn new_values(body: &[u8]) {
    let _ = NewValues::parse(body);
}
