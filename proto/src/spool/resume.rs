//! Where a spool goes on, by what the service has of the stream; and when the two do not belong together.

use super::{
    error::SpoolError,
    log::Log,
    position::{Place, SpoolPosition},
    segment::{Segment, UNKNOWN},
    state::Anchor,
};

/// How the service knows the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Readings of the stream that are settled.
    pub(super) committed_seq: u64,
    /// Readings of the stream before its source position.
    pub(super) source_seq: Option<u64>,
    pub(super) source_position: Option<Vec<u8>>,
}

/// Where the spool goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// Behind this record.
    pub(super) behind: Place,
    /// So many readings from there on are stored already: a message was committed in part, or came without a position.
    pub(super) skip: u64,
}

impl Standing {
    fn found_crc(&self) -> u32 {
        crc32fast::hash(self.source_position.as_deref().unwrap_or_default())
    }
}

impl Log {
    /// Where to go on.
    ///
    /// # Errors
    /// When the stream stands where this spool has not brought it: then nothing may be sent, for nobody knows what is
    /// stored.
    pub(super) fn begin(&mut self, found: &Standing) -> Result<Begin, SpoolError> {
        let (begin, is_known) = match self.anchored(found) {
            Some(begin) => (begin, false),
            None => (self.positioned(found), true),
        };
        let refused = match begin {
            Ok(begin) if is_known => {
                self.acknowledged(begin.behind)?;
                return Ok(begin);
            }
            Ok(begin) => return Ok(begin),
            Err(reason) => reason,
        };
        let is_fresh = found.committed_seq == 0 && found.source_position.is_none();
        let never_sent = self.state().anchor.is_none() && !self.state().is_known;
        let is_first_meeting = is_fresh && never_sent;
        if !self.adopt_stream && !is_first_meeting {
            return Err(SpoolError::Stream {
                stream_id: self.stream_id.clone(),
                reason: refused,
            });
        }
        if std::mem::take(&mut self.adopt_stream) && !is_fresh {
            tracing::warn!(
                stream_id = self.stream_id,
                committed_seq = found.committed_seq,
                "the spool is sent behind what the stream has: {refused}"
            );
        }
        let anchor = Anchor {
            seq: found.committed_seq,
            record: self.state().released.record,
            found_crc: found.found_crc(),
        };
        // Before anything is sent: a part of it may be stored without a position.
        self.state.change(|state| state.anchor = Some(anchor))?;
        Ok(Begin {
            behind: self.state().released,
            skip: 0,
        })
    }

    /// Where the stream still stands at what was found when the spool began, so that nothing of it has a position yet.
    fn anchored(&self, found: &Standing) -> Option<Result<Begin, String>> {
        let state = self.state();
        let anchor = state.anchor.filter(|anchor| {
            anchor.record == state.released.record
                && anchor.found_crc == found.found_crc()
                && anchor.seq <= found.committed_seq
        })?;
        let skip = found.committed_seq - anchor.seq;
        Some(self.checked(state.released, skip))
    }

    fn positioned(&self, found: &Standing) -> Result<Begin, String> {
        let committed = found.committed_seq;
        let source_position = found.source_position.as_deref().unwrap_or_default();
        let position = SpoolPosition::parse(source_position);
        let position = position.filter(|found| found.identity == self.folder.identity());
        let Some(SpoolPosition { place, .. }) = position else {
            return Err(match (source_position.is_empty(), self.state().is_known) {
                (true, false) => {
                    format!("has {committed} readings already, which are not of this spool")
                }
                (true, true) => format!(
                    "has {committed} readings and no position, although readings of this spool were stored: the database is another \
                     one, or the stream was removed"
                ),
                (false, _) => format!(
                    "has {committed} readings, and stands in another source than the spool {}",
                    self.folder.path().display()
                ),
            });
        };
        let released = self.state().released;
        if place.record < released.record {
            return Err(format!(
                "stands behind reading {} of the spool, which has let go of all up to {}, for they were stored: the database \
                 has lost readings, or was restored from a backup",
                place.reading, released.reading
            ));
        }
        let session = self.session_of(place.record);
        if session != Some(place.session) && session != Some(UNKNOWN) {
            return Err(format!(
                "stands behind record {} of the spool, which is not the one that {} has: the folder was restored from an older \
                 copy, so what was taken after that copy is not here",
                place.record,
                self.folder.path().display()
            ));
        }
        let behind = found.source_seq.unwrap_or(committed);
        self.checked(place, committed.saturating_sub(behind))
    }

    /// Which opening has written a record.
    fn session_of(&self, record: u64) -> Option<u64> {
        let released = self.state().released;
        if record == released.record {
            return Some(released.session);
        }
        let has =
            |segment: &&Segment| (segment.first_record()..=segment.last_record).contains(&record);
        let segment = self.segments.iter().find(has)?;
        Some(segment.header.session)
    }

    /// Only what was sent can be stored already.
    fn checked(&self, behind: Place, skip: u64) -> Result<Begin, String> {
        let sent = self.state().sent;
        let segments = self.segments.iter();
        let sent_readings: u64 = segments
            .filter(|segment| segment.first_record() <= sent)
            .map(|segment| {
                let first = segment.header.reading.max(behind.reading);
                segment.last_reading.saturating_sub(first)
            })
            .sum();
        match skip <= sent_readings {
            true => Ok(Begin { behind, skip }),
            false => Err(format!(
                "has {skip} readings behind the position of this spool, of which it can have sent {sent_readings} at the most: \
                 another producer writes to it"
            )),
        }
    }
}
