//! What could not be decoded: where it came from, what it was, and all that is needed to decode it once more.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluicegate_decode::{Piece, Position};

use super::Field;

/// A reading that never became one, in its place among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecoded {
    pub field: Field,
    pub reason: String,
    /// Which of several values of a record; None for all that is in the piece.
    pub value: Option<Box<str>>,
    pub origin: Origin,
}

impl Undecoded {
    /// Memory that it takes, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const COUNTS_BYTES: usize = 2 * size_of::<usize>();
        let Origin {
            place,
            payload,
            context,
            ..
        } = &self.origin;
        let value_bytes = self.value.as_deref().map_or(0, str::len);
        let context_bytes = context.as_str().map_or(0, str::len);
        COUNTS_BYTES
            + size_of::<Self>()
            + self.reason.len()
            + place.len()
            + payload.len()
            + value_bytes
            + context_bytes
    }
}

/// Where something came from that could not be decoded, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// For people: a line of a request, an offset of a queue.
    pub place: String,
    /// Its beginning.
    pub payload: Box<[u8]>,
    /// How long it was, bytes; None where it does not say all.
    pub payload_bytes: Option<usize>,
    /// Where in the payload.
    pub position: Position,
    pub context: PayloadContext,
}

impl Origin {
    /// The most that is kept of a payload, or of a line of one, bytes.
    pub const PAYLOAD_BYTES: usize = 8 << 10;
    /// The same where several faults have it in common: of a message whose records lie below others.
    pub const SHARED_BYTES: usize = 1 << 10;
    /// The longest place, in characters.
    pub const PLACE_CHARS: usize = 512;

    /// Keeps the beginning of a piece.
    #[must_use]
    pub fn of(place: &str, piece: Piece<'_>, context: &PayloadContext) -> Self {
        let Piece {
            bytes,
            position,
            is_whole,
        } = piece;
        let most = match position {
            Position::Line(_) | Position::Message => Self::PAYLOAD_BYTES,
            Position::Record(_) => Self::SHARED_BYTES,
        };
        Self {
            place: place.chars().take(Self::PLACE_CHARS).collect(),
            payload: bytes[..bytes.len().min(most)].into(),
            payload_bytes: is_whole.then_some(bytes.len()),
            position,
            context: context.clone(),
        }
    }
}

/// What was known of a payload besides its bytes, and by what it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBy {
    /// The source that it came from, whose mapping it was read by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The mapping of requests that it was read by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Those that the mapping asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Microseconds since the Unix epoch, UTC.
    pub arrival_us: i64,
    /// Of times in line protocol, as a request says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// The same as it is kept: as JSON, shared by all faults of a payload; nothing where it is too long for that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadContext(Option<Arc<str>>);

impl PayloadContext {
    /// The longest, bytes.
    pub const MAX_BYTES: usize = 2 << 10;

    #[must_use]
    pub fn of(read_by: &ReadBy) -> Self {
        let text = serde_json::to_string(read_by).ok();
        Self(text.filter(|it| it.len() <= Self::MAX_BYTES).map(Arc::from))
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8], position: Position) -> Piece<'_> {
        Piece {
            bytes,
            position,
            is_whole: true,
        }
    }

    #[test]
    fn a_line_is_kept_longer_than_what_others_share() {
        let bytes = [b'x'; 20_000];
        let context = PayloadContext::default();
        let line = Origin::of("a", piece(&bytes, Position::Line(3)), &context);
        assert_eq!(
            (line.payload.len(), line.payload_bytes),
            (8_192, Some(20_000))
        );
        let record = Origin::of("a", piece(&bytes, Position::Record(3)), &context);
        assert_eq!(record.payload.len(), 1_024);
        let short = Origin::of("a", piece(b"x", Position::Message), &context);
        assert_eq!((short.payload.len(), short.payload_bytes), (1, Some(1)));
    }

    #[test]
    fn a_context_that_is_too_long_is_not_kept() {
        let read_by = |topic: String| ReadBy {
            source: Some("plant".to_owned()),
            topic: Some(topic),
            arrival_us: 7,
            ..ReadBy::default()
        };
        let kept = PayloadContext::of(&read_by("plant/4".to_owned()));
        let text = kept.as_str().unwrap();
        assert_eq!(
            text,
            r#"{"source":"plant","topic":"plant/4","arrival_us":7}"#
        );
        let back: ReadBy = serde_json::from_str(text).unwrap();
        assert_eq!(back, read_by("plant/4".to_owned()));
        assert_eq!(
            PayloadContext::of(&read_by("x".repeat(2_048))).as_str(),
            None
        );
    }
}
