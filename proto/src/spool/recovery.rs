//! What a spool finds when it is opened: a record that was being written is cut off, what was let go of is removed, and what
//! cannot be read is damage.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
};

use super::{
    error::{SpoolError, failed},
    folder::Folder,
    log::{Log, Recovered},
    options::SpoolOptions,
    position::Place,
    record,
    segment::{self, Segment, SegmentHeader, SourceMark, UNKNOWN},
    state::{State, StateFile},
};

/// Opens the log of a stream, or makes it.
pub(super) fn open(options: &SpoolOptions, stream_id: &str) -> Result<Log, SpoolError> {
    let folder = Folder::open(&options.folder, stream_id)?;
    let state = match folder.is_new {
        true => {
            let state = StateFile::create(&folder)?;
            folder.write_papers(stream_id)?;
            state
        }
        false => StateFile::open(&folder)?,
    };
    let found = recover(&folder, state.get(), options.skip_damaged)?;
    let mut log = Log::new((folder, state), (options.limits(), stream_id), found);
    log.skip_damaged = options.skip_damaged;
    log.adopt_stream = options.adopt_stream;
    Ok(log)
}

fn recover(folder: &Folder, state: &State, skip: bool) -> Result<Recovered, SpoolError> {
    let mut segments: VecDeque<Segment> = VecDeque::new();
    let mut cut_bytes = 0;
    let numbers = folder.segments()?;
    for (at, &number) in numbers.iter().enumerate() {
        let is_last = at + 1 == numbers.len();
        let dropped =
            |gap: &super::state::Gap| (gap.first_record..=gap.last_record).contains(&number);
        // What it stood for is in the state; only the file was not removed yet.
        if number <= state.released.record || state.gaps.iter().any(dropped) {
            remove(folder, number)?;
            continue;
        }
        match segment::open(folder, number)? {
            Some(segment) => segments.push_back(segment),
            None if is_last && !has_records(folder, number)? => {
                cut_bytes += fs::metadata(folder.segment(number)).map_or(0, |file| file.len());
                remove(folder, number)?;
            }
            None if skip => match salvage(folder, number)? {
                Some(segment) => segments.push_back(segment),
                None => set_aside(folder, number)?,
            },
            None => {
                return Err(SpoolError::Damaged {
                    file: folder.segment(number),
                    offset: 0,
                    reason: "the header of the segment cannot be read".to_owned(),
                });
            }
        }
    }
    bound(&mut segments, state);
    let mut source = state.source.clone();
    if let Some(last) = segments.back_mut() {
        let scanned = cut(folder, last, skip)?;
        cut_bytes += scanned.0;
        for mark in [Some(last.header.source.clone()), scanned.1]
            .into_iter()
            .flatten()
        {
            if !mark.position.is_empty() && mark.reading >= source.reading {
                source = mark;
            }
        }
    }
    if segments.back().is_some_and(Segment::is_empty) {
        // It was made for a record that never came.
        if let Some(empty) = segments.pop_back() {
            remove(folder, empty.first_record())?;
        }
    }
    Ok(Recovered {
        last: last_place(&segments, state),
        segments,
        source,
        cut_bytes,
    })
}

/// Where segments end that others follow: at what follows.
fn bound(segments: &mut VecDeque<Segment>, state: &State) {
    let mut next = None;
    for segment in segments.iter_mut().rev() {
        let first = segment.first_record();
        let gap = state.gaps.iter().find(|gap| gap.first_record > first);
        let gap = gap.map(|gap| (gap.first_record, gap.first_reading));
        let end = match (gap, next) {
            (Some(gap), Some(next)) => Some(std::cmp::min(gap, next)),
            (Some(gap), None) => Some(gap),
            (None, next) => next,
        };
        if let Some((record, reading)) = end {
            segment.last_record = record - 1;
            segment.last_reading = reading;
        }
        next = Some((first, segment.header.reading));
    }
}

/// Cuts off what is no record at the end of the last segment, says how much that was, and where the source stood.
fn cut(
    folder: &Folder,
    last: &mut Segment,
    skip: bool,
) -> Result<(u64, Option<SourceMark>), SpoolError> {
    let path = folder.segment(last.first_record());
    let scan = segment::scan(last, &path)?;
    let is_bounded = last.last_record >= last.first_record();
    let is_short = is_bounded && scan.last_record < last.last_record;
    if let Some(offset) = scan
        .damaged_at
        .or(is_short.then_some(scan.end))
        .filter(|_| !skip)
    {
        return Err(SpoolError::Damaged {
            file: path,
            offset,
            reason: format!(
                "what stands here is no record, although record {} follows",
                scan.last_record.max(last.last_record)
            ),
        });
    }
    if !is_bounded {
        last.last_record = scan.last_record;
        last.last_reading = scan.last_reading;
    }
    last.bytes = scan.end;
    if scan.rest > 0 {
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file| {
            file.set_len(scan.end)?;
            file.sync_all()
        })
        .map_err(failed("cut", &path))?;
    }
    Ok((scan.rest, scan.source))
}

fn has_records(folder: &Folder, number: u64) -> Result<bool, SpoolError> {
    let path = folder.segment(number);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    Ok(record::find_next(&bytes, 0, 1).is_some())
}

fn remove(folder: &Folder, number: u64) -> Result<(), SpoolError> {
    let path = folder.segment(number);
    fs::remove_file(&path).map_err(failed("remove", &path))
}

/// A segment whose header cannot be read, as far as its records can. Who has written it is not known.
fn salvage(folder: &Folder, number: u64) -> Result<Option<Segment>, SpoolError> {
    let path = folder.segment(number);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    Ok(
        record::find_next(&bytes, 0, number).map(|(at, first)| Segment {
            header: SegmentHeader {
                session: UNKNOWN,
                record: number,
                reading: first.reading,
                source: SourceMark::default(),
            },
            body_at: at as u64,
            bytes: bytes.len() as u64,
            last_record: number - 1,
            last_reading: first.reading,
        }),
    )
}

/// Keeps a segment that cannot be read under another name. Its readings are counted when the reader comes to its place.
fn set_aside(folder: &Folder, number: u64) -> Result<(), SpoolError> {
    let path = folder.segment(number);
    fs::rename(&path, path.with_extension("damaged")).map_err(failed("rename", &path))
}

/// The last record that was ever taken, whether it is here or not.
fn last_place(segments: &VecDeque<Segment>, state: &State) -> Place {
    let here = segments.back().map(|last| Place {
        session: last.header.session,
        record: last.last_record,
        reading: last.last_reading,
    });
    let dropped = state.gaps.last().map(|gap| Place {
        session: 0,
        record: gap.last_record,
        reading: gap.last_reading,
    });
    [here, dropped, Some(state.released)]
        .into_iter()
        .flatten()
        .max_by_key(|place| place.record)
        .unwrap_or_default()
}
