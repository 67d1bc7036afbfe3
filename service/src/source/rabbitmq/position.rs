//! Where a stream goes on, as it is kept with the readings, and whether its log still is what it was then.

use serde::{Deserialize, Serialize};

use crate::model::SourcePosition;

/// A message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    /// What acknowledges it: counts from 1 for each channel.
    pub(super) tag: u64,
    /// In a stream.
    pub(super) offset: u64,
    pub(super) print: Print,
}

/// Where a stream goes on. One that was deleted and made again has other messages under the same offsets, and nothing in the
/// protocol tells it from the one before: so it is looked at whether the last message still is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamPosition {
    /// Of the next message.
    pub(super) offset: u64,
    /// Of the message before.
    #[serde(flatten)]
    pub(super) print: Print,
}

/// Enough of a message to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    length_bytes: u64,
    crc32: u32,
}

impl Print {
    pub(super) fn of(message: &[u8]) -> Self {
        Self {
            length_bytes: message.len() as u64,
            crc32: crc32fast::hash(message),
        }
    }
}

impl StreamPosition {
    pub(super) fn parse(position: &SourcePosition) -> Option<Self> {
        serde_json::from_slice(position.as_bytes()).ok()
    }

    /// As it is kept: JSON, for people to read.
    pub(super) fn to_source_position(self) -> Option<SourcePosition> {
        let text = serde_json::to_vec(&self).ok()?;
        SourcePosition::parse(&text).ok().flatten()
    }

    /// The message that the stream is asked for first: the last one that was read.
    pub(super) fn known_offset(&self) -> u64 {
        self.offset.saturating_sub(1)
    }

    /// What was lost, in words, when `found` is what the stream has at the known offset or behind it.
    pub(super) fn held_against(&self, found: &Delivered) -> Result<(), Loss> {
        let Self { offset, print } = *self;
        let known = self.known_offset();
        match found.offset {
            at if at < known => Err(Loss::Replaced(format!(
                "the stream goes on with message {at}, and {offset} was to be read next: it was deleted and made again, or its \
                 end was cut off"
            ))),
            at if at == known && found.print != print => Err(Loss::Replaced(format!(
                "message {known} is another one than was read: the stream was deleted and made again"
            ))),
            at if at > offset => Err(Loss::Expired(format!(
                "the stream begins at {at}, and message {offset} was to be read next: {} messages are gone",
                at - offset
            ))),
            _ => Ok(()),
        }
    }
}

/// What is gone, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Messages that were not read were removed, as retention has it.
    Expired(String),
    /// The messages that are there are others.
    Replaced(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(offset: u64, message: &[u8]) -> Delivered {
        Delivered {
            tag: 1,
            offset,
            print: Print::of(message),
        }
    }

    #[test]
    fn the_last_message_is_known_again() {
        let position = StreamPosition {
            offset: 100,
            print: Print::of(b"last"),
        };
        let held = |at, message: &[u8]| position.held_against(&delivered(at, message));
        assert_eq!(held(99, b"last"), Ok(()));
        assert_eq!(held(100, b"next"), Ok(()), "only what was read is gone");
        assert!(matches!(held(99, b"lost"), Err(Loss::Replaced(_))));
        assert!(matches!(held(98, b"last"), Err(Loss::Replaced(_))));
        let Err(Loss::Expired(loss)) = held(110, b"far") else {
            panic!("nothing is told");
        };
        assert!(loss.contains("10 messages are gone"), "{loss}");
    }

    #[test]
    fn a_position_is_kept_as_text_of_few_bytes() {
        let position = StreamPosition {
            offset: u64::MAX,
            print: Print::of(b"message"),
        };
        let kept = position.to_source_position().unwrap();
        assert!(kept.as_bytes().len() < 128);
        assert_eq!(StreamPosition::parse(&kept), Some(position));
    }
}
