//! The log of a spool: segments of records, of which the last one grows, and the state beside them.
//!
//! A record is written and synced before the next one is begun. So at most one record, the last one, is in doubt after a loss of
//! power, and what cannot be read before it is damage.

use std::{collections::VecDeque, fs::File, os::unix::fs::FileExt as _, path::PathBuf};

use super::{
    error::{SpoolError, failed},
    folder::Folder,
    options::Limits,
    position::Place,
    record::{Batch, end_frame},
    segment::{self, Segment, SegmentHeader, SourceMark},
    state::{Gap, MOST_GAPS, State, StateFile},
};

#[derive(Debug)]
pub(super) struct Log {
    pub(super) folder: Folder,
    pub(super) limits: Limits,
    pub(super) skip_damaged: bool,
    /// Whether the stream may be taken as it is, once.
    pub(super) adopt_stream: bool,
    pub(super) stream_id: String,
    /// Of this opening.
    pub(super) session: u64,
    pub(super) segments: VecDeque<Segment>,
    /// The last segment, while it takes records. One of an earlier opening takes none.
    active: Option<File>,
    pub(super) state: StateFile,
    /// The last record that was ever taken.
    pub(super) last: Place,
    /// What the service has, as far as it has said so.
    pub(super) acked: Place,
    pub(super) source: SourceMark,
    used_bytes: u64,
    /// Bytes of a record that was being written when the power went.
    pub(super) cut_bytes: u64,
    is_closed: bool,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Appended {
    /// It is on the disk.
    Durable,
    /// There is no place for it, for this reason.
    Full(String),
}

/// What was found on the disk.
pub(super) struct Recovered {
    pub(super) segments: VecDeque<Segment>,
    pub(super) last: Place,
    pub(super) source: SourceMark,
    pub(super) cut_bytes: u64,
}

impl Log {
    pub(super) fn new(
        (folder, state): (Folder, StateFile),
        (limits, stream_id): (Limits, &str),
        found: Recovered,
    ) -> Self {
        Self {
            limits,
            skip_damaged: false,
            adopt_stream: false,
            stream_id: stream_id.to_owned(),
            session: rand::random_range(1..=u64::MAX),
            used_bytes: found.segments.iter().map(|segment| segment.bytes).sum(),
            segments: found.segments,
            active: None,
            last: found.last,
            acked: state.get().released,
            source: found.source,
            cut_bytes: found.cut_bytes,
            is_closed: false,
            folder,
            state,
        }
    }

    pub(super) fn state(&self) -> &State {
        self.state.get()
    }

    /// Bytes of all segments.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Readings that are here and that the service has not acknowledged.
    pub(super) fn pending(&self) -> u64 {
        let acked = self.acked.reading;
        let here = self.segments.iter();
        here.map(|segment| {
            let first = segment.header.reading.max(acked);
            segment.last_reading.saturating_sub(first)
        })
        .sum()
    }

    /// Appends a batch, and has it on the disk.
    ///
    /// # Errors
    /// When the disk fails. What was appended before is safe, and the log must be opened anew.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Appended, SpoolError> {
        if self.is_closed {
            return Err(SpoolError::Stopped);
        }
        let frame = batch.frame(self.last.record + 1, self.last.reading);
        match self.append_frame(&frame) {
            Ok(None) => {}
            Ok(Some(reason)) => return Ok(Appended::Full(reason)),
            Err(error) if error.is_full() => return Ok(Appended::Full(error.to_string())),
            Err(error) => return Err(error),
        }
        let before = self.last.reading;
        self.last = Place {
            session: self.session,
            record: self.last.record + 1,
            reading: before + u64::from(batch.readings()),
        };
        if !batch.source_position.is_empty() {
            self.source = SourceMark {
                position: batch.source_position.clone(),
                reading: before + u64::from(batch.marked),
            };
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.last_record = self.last.record;
            segment.last_reading = self.last.reading;
        }
        Ok(Appended::Durable)
    }

    /// Why there is no place for it within `max_bytes`, or nothing once it is on the disk.
    fn append_frame(&mut self, frame: &[u8]) -> Result<Option<String>, SpoolError> {
        let last = self.segments.back().filter(|_| self.active.is_some());
        let goes_on = last.is_some_and(|segment| {
            segment.is_empty() || segment.bytes + frame.len() as u64 <= self.limits.segment_bytes
        });
        let header = match goes_on {
            true => 0,
            false => self.next_header().bytes(self.folder.identity()).len(),
        };
        let needed = (header + frame.len()) as u64;
        if self.used_bytes + needed > self.limits.max_bytes {
            return Ok(Some(format!(
                "{} of its {} bytes (max_bytes) are used",
                self.used_bytes, self.limits.max_bytes
            )));
        }
        if !goes_on {
            self.active = None;
            let (segment, file) = segment::create(&self.folder, self.next_header())?;
            self.used_bytes += segment.bytes;
            self.segments.push_back(segment);
            self.active = Some(file);
        }
        self.write(frame)?;
        Ok(None)
    }

    fn next_header(&self) -> SegmentHeader {
        SegmentHeader {
            session: self.session,
            record: self.last.record + 1,
            reading: self.last.reading,
            source: self.source.clone(),
        }
    }

    /// Writes behind what is durable, and syncs. After an error the segment is as it was.
    fn write(&mut self, frame: &[u8]) -> Result<(), SpoolError> {
        let (Some(file), Some(segment)) = (&self.active, self.segments.back_mut()) else {
            return Err(SpoolError::Stopped);
        };
        let path = self.folder.segment(segment.first_record());
        let written = file
            .write_all_at(frame, segment.bytes)
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            file.set_len(segment.bytes).map_err(failed("cut", &path))?;
            return Err(failed("write", &path)(error));
        }
        segment.bytes += frame.len() as u64;
        self.used_bytes += frame.len() as u64;
        Ok(())
    }

    /// Drops the oldest segment of which nothing was ever sent, and says how many readings that were. None when there is
    /// none.
    pub(super) fn drop_oldest(&mut self) -> Result<Option<u64>, SpoolError> {
        let sent = self.state().sent;
        let unsent = |segment: &Segment| segment.first_record() > sent && !segment.is_empty();
        let Some(at) = self.segments.iter().position(unsent) else {
            return Ok(None);
        };
        let dropped = self.segments[at].clone();
        let gap = Gap {
            first_record: dropped.first_record(),
            last_record: dropped.last_record,
            first_reading: dropped.header.reading,
            last_reading: dropped.last_reading,
        };
        let before = self.state().gaps.last();
        let joins = before.is_some_and(|before| before.last_record + 1 == gap.first_record);
        if !joins && self.state().gaps.len() == MOST_GAPS {
            return Ok(None);
        }
        let source = self.source.clone();
        // Counted before it is gone.
        self.state.change(|state| {
            state.source = source;
            state.dropped += dropped.readings();
            match state.gaps.last_mut().filter(|_| joins) {
                Some(before) => {
                    before.last_record = gap.last_record;
                    before.last_reading = gap.last_reading;
                }
                None => state.gaps.push(gap),
            }
        })?;
        if at + 1 == self.segments.len() {
            self.active = None;
        }
        self.segments.remove(at);
        self.remove(&dropped)?;
        Ok(Some(dropped.readings()))
    }

    /// The service has everything up to and with this record: segments of which it has all are let go of.
    pub(super) fn acknowledged(&mut self, acked: Place) -> Result<(), SpoolError> {
        if acked.record > self.acked.record {
            self.acked = acked;
        }
        // From its first position on, a stream without one is another stream.
        self.state.change(|state| {
            state.anchor = None;
            state.is_known = true;
        })?;
        let mut gone = Vec::new();
        let kept = usize::from(self.active.is_some());
        while self.segments.len() > kept
            && let Some(front) = self.segments.front()
            && front.last_record <= acked.record
        {
            gone.extend(self.segments.pop_front());
        }
        let Some(last) = gone.last() else {
            return Ok(());
        };
        let released = Place {
            session: last.header.session,
            record: last.last_record,
            reading: last.last_reading,
        };
        let source = self.source.clone();
        self.state.change(|state| {
            state.released = released;
            state.source = source;
            state.gaps.retain(|gap| gap.last_record > released.record);
        })?;
        for segment in gone {
            self.remove(&segment)?;
        }
        Ok(())
    }

    /// Notes, before it is done, that what lies in this segment may be sent. False while as much is on its way as may be.
    pub(super) fn enter(&mut self, first_record: u64) -> Result<bool, SpoolError> {
        let state = self.state();
        if first_record <= state.sent {
            return Ok(true);
        }
        let sent = |segment: &&Segment| segment.first_record() <= state.sent;
        let sent_bytes: u64 = self.segments.iter().filter(sent).map(|one| one.bytes).sum();
        // One place is for what may yet be dropped behind it.
        let has_gaps = state.gaps.len() + 1 >= MOST_GAPS
            && state.gaps.iter().any(|gap| gap.first_record > state.sent);
        if sent_bytes > 0 && (sent_bytes >= self.limits.sent_bytes() || has_gaps) {
            return Ok(false);
        }
        self.state.change(|state| state.sent = first_record)?;
        Ok(true)
    }

    /// So many readings up to this record cannot be read back, and are left out.
    pub(super) fn note_damaged(&mut self, through: u64, readings: u64) -> Result<(), SpoolError> {
        self.state.change(|state| {
            // They are met again after a restart.
            if through > state.damaged_through {
                state.damaged_through = through;
                state.damaged += readings;
            }
        })
    }

    fn remove(&mut self, segment: &Segment) -> Result<(), SpoolError> {
        let path = self.folder.segment(segment.first_record());
        std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        self.used_bytes -= segment.bytes;
        Ok(())
    }

    /// Ends the segment that takes records, so that at the next opening its last record is known to be whole.
    pub(super) fn close(&mut self) -> Result<(), SpoolError> {
        self.is_closed = true;
        let has_records = self.segments.back().is_some_and(|last| !last.is_empty());
        if self.active.is_some() && has_records {
            let end = end_frame(self.last.record + 1, self.last.reading);
            match self.write(&end) {
                // It is a help, and not needed.
                Err(error) if error.is_full() => {}
                done => done?,
            }
        }
        self.active = None;
        Ok(())
    }

    /// The file of a segment.
    pub(super) fn path(&self, segment: &Segment) -> PathBuf {
        self.folder.segment(segment.first_record())
    }
}
