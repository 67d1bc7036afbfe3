//! Reads the records of a spool in order, from a place on.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf};

use super::{
    error::{SpoolError, failed},
    log::Log,
    position::Place,
    record::{self, HEADER_BYTES, Header},
    resume::Begin,
    segment::Segment,
};
use crate::v1::ColumnBatch;

#[derive(Debug)]
pub(super) struct Reader {
    open: Option<Open>,
    /// The next record.
    next: u64,
    /// How many readings were ever taken before it.
    reading: u64,
    /// So many readings from here on are stored already.
    skip: u64,
}

/// The segment that is being read.
#[derive(Debug)]
struct Open {
    first_record: u64,
    path: PathBuf,
    file: File,
    /// From its beginning, as far as it was read.
    bytes: Vec<u8>,
    at: usize,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Record(Stored),
    /// Nothing that is durable yet.
    Idle,
    /// As much is on its way as may be.
    Held,
}

/// A record that was read back.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) columns: ColumnBatch,
    /// So many readings at its beginning are stored already.
    pub(super) skip: usize,
    /// Behind it.
    pub(super) place: Place,
}

impl Reader {
    pub(super) fn new(begin: Begin) -> Self {
        Self {
            open: None,
            next: begin.behind.record + 1,
            reading: begin.behind.reading,
            skip: begin.skip,
        }
    }

    /// The next record.
    ///
    /// # Errors
    /// When what is on the disk is not what was written, unless that is to be skipped.
    pub(super) fn next(&mut self, log: &mut Log) -> Result<Next, SpoolError> {
        loop {
            let mut segments = log.segments.iter();
            let next = self.next;
            let Some(segment) = segments.find(|one| one.last_record >= next && !one.is_empty())
            else {
                return Ok(Next::Idle);
            };
            let segment = segment.clone();
            if self.next < segment.first_record() {
                self.pass_what_is_gone(log, &segment)?;
            }
            if !log.enter(segment.first_record())? {
                return Ok(Next::Held);
            }
            self.read(log, &segment)?;
            if let Some(stored) = self.record(log, &segment)? {
                return Ok(Next::Record(stored));
            }
        }
    }

    /// Goes on at this segment, before which there are records that are not here: they were dropped, or lost.
    fn pass_what_is_gone(&mut self, log: &mut Log, segment: &Segment) -> Result<(), SpoolError> {
        let (first, last) = (self.next, segment.first_record() - 1);
        let (from, to) = (self.reading, segment.header.reading);
        let gaps = log.state().gaps.iter();
        // A part of one may be behind already: it grew since.
        let dropped: u64 = gaps
            .map(|gap| {
                gap.last_reading
                    .min(to)
                    .saturating_sub(gap.first_reading.max(from))
            })
            .sum();
        let gone = to.saturating_sub(from);
        let lost = gone.saturating_sub(dropped);
        if lost > 0 {
            let reason =
                format!("records from {first} to {last} should stand before it, and are gone");
            self.lose(log, (log.path(segment), 0), (last, lost), reason)?;
        }
        (self.next, self.reading) = (segment.first_record(), segment.header.reading);
        Ok(())
    }

    /// Has all that is durable of the segment in memory.
    fn read(&mut self, log: &Log, segment: &Segment) -> Result<(), SpoolError> {
        let is_open = |open: &Open| open.first_record == segment.first_record();
        let mut open = match self.open.take().filter(is_open) {
            Some(open) => open,
            None => {
                let path = log.path(segment);
                Open {
                    first_record: segment.first_record(),
                    file: File::open(&path).map_err(failed("open", &path))?,
                    path,
                    bytes: Vec::new(),
                    at: segment.body_at as usize,
                }
            }
        };
        let (read, durable) = (open.bytes.len(), segment.bytes as usize);
        if read < durable {
            open.bytes.resize(durable, 0);
            open.file
                .read_exact_at(&mut open.bytes[read..], read as u64)
                .map_err(failed("read", &open.path))?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// The record that is next, or None when another look is needed: it was skipped.
    fn record(&mut self, log: &mut Log, segment: &Segment) -> Result<Option<Stored>, SpoolError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        // Those before it were stored long ago.
        while let Some(header) = open.bytes.get(open.at..).and_then(Header::parse)
            && header.record < self.next
        {
            open.at += header.frame_bytes() as usize;
        }
        let rest = open.bytes.get(open.at..).unwrap_or_default();
        let found = Header::parse(rest)
            .filter(|header| header.record == self.next && header.reading == self.reading)
            .and_then(|header| {
                let payload = rest.get(HEADER_BYTES..header.frame_bytes() as usize)?;
                let (columns, _) = header
                    .fits(payload)
                    .then(|| record::decode(&header, payload))??;
                Some((header, columns))
            });
        let Some((header, columns)) = found else {
            self.pass_damage(log, segment)?;
            return Ok(None);
        };
        open.at += header.frame_bytes() as usize;
        self.next += 1;
        self.reading = header.last_reading();
        let skip = self.skip.min(header.readings.into());
        self.skip -= skip;
        let place = Place {
            session: segment.header.session,
            record: header.record,
            reading: self.reading,
        };
        let is_left = skip < u64::from(header.readings);
        Ok(is_left.then_some(Stored {
            columns,
            skip: skip as usize,
            place,
        }))
    }

    /// Goes on behind what is no record.
    fn pass_damage(&mut self, log: &mut Log, segment: &Segment) -> Result<(), SpoolError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let (path, offset) = (open.path.clone(), open.at as u64);
        let intact = record::find_next(&open.bytes, open.at, self.next);
        let (at, next, reading) = match intact {
            // The one that was refused for its number or its payload is passed, too.
            Some((at, header)) if at == open.at && header.record == self.next => (
                at + header.frame_bytes() as usize,
                header.record + 1,
                header.last_reading(),
            ),
            Some((at, header)) => (at, header.record, header.reading),
            None => (
                open.bytes.len(),
                segment.last_record + 1,
                segment.last_reading,
            ),
        };
        open.at = at;
        let reason = format!(
            "record {} cannot be read back: the disk has changed it",
            self.next
        );
        let lost = reading.saturating_sub(self.reading);
        self.lose(log, (path, offset), (next - 1, lost), reason)?;
        (self.next, self.reading) = (next, reading);
        Ok(())
    }

    /// Counts what cannot be read, if that is to be skipped.
    fn lose(
        &mut self,
        log: &mut Log,
        (file, offset): (PathBuf, u64),
        (through, readings): (u64, u64),
        reason: String,
    ) -> Result<(), SpoolError> {
        if !log.skip_damaged {
            return Err(SpoolError::Damaged {
                file,
                offset,
                reason,
            });
        }
        // What the service has already is not lost.
        let stored = self.skip.min(readings);
        self.skip -= stored;
        let lost = readings - stored;
        tracing::error!(file = %file.display(), offset, readings = lost, "readings are left out: {reason}");
        log.note_damaged(through, lost)
    }
}
