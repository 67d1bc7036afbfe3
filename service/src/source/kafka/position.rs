//! Where a partition goes on, as it is kept with the stream, and whether the log still is what it was then.

use serde::{Deserialize, Serialize};

use crate::{config::SourceStart, model::SourcePosition};

/// Where a partition goes on. A topic that was deleted and made again has other records under the same offsets, and so has a
/// log whose end was cut off by a leader that lacked it: offsets alone would not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KafkaPosition {
    pub(super) topic_id: String,
    /// Of the next record. Offsets have gaps where records were compacted or transactions aborted.
    pub(super) offset: i64,
    /// Of the leader that wrote the record before; -1 where the broker does not say.
    pub(super) leader_epoch: i32,
}

impl KafkaPosition {
    /// None for bytes that nobody here has written.
    pub(super) fn parse(position: &SourcePosition) -> Option<Self> {
        serde_json::from_slice(position.as_bytes()).ok()
    }

    /// As it is kept: JSON, for people to read.
    pub(super) fn to_source_position(&self) -> Option<SourcePosition> {
        let text = serde_json::to_vec(self).ok()?;
        SourcePosition::parse(&text).ok().flatten()
    }
}

/// A partition as the brokers have it.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) topic_id: String,
    /// The first offset that is there.
    pub(super) low: i64,
    /// The first that is not there yet.
    pub(super) high: i64,
    /// Whether the brokers say that records before our position were replaced by others.
    pub(super) has_diverged: bool,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) offset: i64,
    /// Has the brokers check that the log still has what was read.
    pub(super) leader_epoch: Option<i32>,
}

/// Where to read on, and what is gone that was not read, in words.
pub(super) fn begin(
    position: Option<&KafkaPosition>,
    log: &Log,
    start: SourceStart,
) -> (Beginning, Option<String>) {
    let at = |offset| Beginning {
        offset,
        leader_epoch: None,
    };
    let &Log { low, high, .. } = log;
    let Some(position) = position else {
        return match start {
            SourceStart::Earliest => (at(low), None),
            SourceStart::Latest => (at(high), None),
        };
    };
    let offset = position.offset;
    if position.topic_id != log.topic_id {
        let loss = format!(
            "the topic was deleted and made again, or is one of another cluster: its id is {}, and was {} when record {offset} \
             was to be read next; the records from there on are gone",
            log.topic_id, position.topic_id
        );
        return (at(low), Some(loss));
    }
    if offset < low {
        let loss = format!(
            "the log begins at {low}, and record {offset} was to be read next: {} records are gone, of those that were there",
            low - offset
        );
        return (at(low), Some(loss));
    }
    if offset > high {
        let loss = format!(
            "the log ends at {high}, and record {offset} was to be read next: its end was cut off, and what was written \
             there is gone"
        );
        return (at(high), Some(loss));
    }
    if log.has_diverged {
        let loss = format!(
            "the log was cut off before record {offset}, which was to be read next, and others were written there: those are \
             not read"
        );
        return (at(offset), Some(loss));
    }
    let leader_epoch = Some(position.leader_epoch).filter(|&epoch| epoch >= 0);
    let beginning = Beginning {
        offset,
        leader_epoch,
    };
    (beginning, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log {
            topic_id: "A".to_owned(),
            low: 100,
            high: 200,
            has_diverged: false,
        }
    }

    fn position(offset: i64) -> KafkaPosition {
        KafkaPosition {
            topic_id: "A".to_owned(),
            offset,
            leader_epoch: 3,
        }
    }

    fn begun(offset: i64, log: &Log) -> (i64, Option<i32>, Option<String>) {
        let (at, loss) = begin(Some(&position(offset)), log, SourceStart::Earliest);
        (at.offset, at.leader_epoch, loss)
    }

    #[test]
    fn it_goes_on_where_it_stood() {
        for offset in [100, 150, 200] {
            assert_eq!(begun(offset, &log()), (offset, Some(3), None));
        }
        assert_eq!(begin(None, &log(), SourceStart::Earliest).0.offset, 100);
        assert_eq!(begin(None, &log(), SourceStart::Latest).0.offset, 200);
    }

    #[test]
    fn what_is_gone_is_told_and_never_passed_over_in_silence() {
        let told = |offset, log: &Log, at, word: &str| {
            let (found, epoch, loss) = begun(offset, log);
            assert_eq!((found, epoch), (at, None));
            let loss = loss.unwrap();
            assert!(loss.contains(word), "{loss}");
        };
        told(40, &log(), 100, "60 records are gone");
        told(201, &log(), 200, "ends at 200");
        let other = Log {
            topic_id: "B".to_owned(),
            ..log()
        };
        told(150, &other, 100, "made again");
        let diverged = Log {
            has_diverged: true,
            ..log()
        };
        told(150, &diverged, 150, "others were written there");
    }

    #[test]
    fn a_position_is_kept_as_text_of_few_bytes() {
        let kept = position(i64::MAX).to_source_position().unwrap();
        assert!(kept.as_bytes().len() < 128);
        assert_eq!(KafkaPosition::parse(&kept), Some(position(i64::MAX)));
        let foreign = SourcePosition::parse(b"9").unwrap().unwrap();
        assert_eq!(KafkaPosition::parse(&foreign), None);
    }
}
