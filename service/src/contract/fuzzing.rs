//! A message on its way from the wire to readings.

use prost::Message as _;
use sluicegate_proto::v1::StreamReadingsRequest;

use super::{
    message,
    weigh::{Weighed as _, bytes_of},
};
use crate::usecase::ingest::{Readings, conversation::Message};

/// What a message of a stream brings; None where it is refused or brings something else.
///
/// # Panics
/// When it takes more memory than it was weighed (P4), or is refused although it can be read.
#[must_use]
pub(crate) fn readings(encoded: &[u8]) -> Option<Readings> {
    let Ok(weighed) = StreamReadingsRequest::weigh(encoded) else {
        assert!(StreamReadingsRequest::decode(encoded).is_err());
        return None;
    };
    let weight = weighed.ok()?;
    let mut decoded = StreamReadingsRequest::with_room(&weight);
    decoded.merge(encoded).ok()?;
    let taken = bytes_of(&decoded);
    assert!(taken <= weight.bytes(), "{taken} bytes, {weight:?}");
    match message(decoded).ok()? {
        Message::Readings(sent) => Some(sent.readings),
        _ => None,
    }
}
