//! A segment: a file of records that follow each other, behind a header that says where it stands.
//!
//! ```text
//! magic          8   "SGSPOOL1"
//! crc            4   of everything that follows in the header
//! identity      16   of the spool
//! session        8   of the opening that wrote it
//! record         8   number of its first record
//! reading        8   how many readings were ever taken before it
//! source         ..  where the source stands before it, and behind how many readings
//! ```

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::{
    bytes::{Fields, put_text, put_u64},
    error::{SpoolError, failed},
    folder::Folder,
    position::Identity,
    record,
};

const MAGIC: &[u8; 8] = b"SGSPOOL1";
/// With the longest source position.
const MOST_HEADER_BYTES: usize = 64 + 1_024;

/// Where the source of the readings stands, as far as the spool was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SourceMark {
    /// Empty when it was never told.
    pub(super) position: Vec<u8>,
    /// So many readings were taken before it.
    pub(super) reading: u64,
}

impl SourceMark {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.reading);
        put_text(out, &self.position);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            reading: fields.u64()?,
            position: fields.text()?.to_vec(),
        })
    }
}

/// The session of a segment whose header was lost.
pub(super) const UNKNOWN: u64 = 0;

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) session: u64,
    /// Of its first record.
    pub(super) record: u64,
    /// How many readings were ever taken before it.
    pub(super) reading: u64,
    /// Where the source stands before it.
    pub(super) source: SourceMark,
}

impl SegmentHeader {
    pub(super) fn bytes(&self, identity: Identity) -> Vec<u8> {
        let mut rest = identity.0.to_vec();
        put_u64(&mut rest, self.session);
        put_u64(&mut rest, self.record);
        put_u64(&mut rest, self.reading);
        self.source.put(&mut rest);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
        bytes
    }

    /// The header that these bytes begin with, and its length. None when it is none of this spool.
    pub(super) fn parse(bytes: &[u8], identity: Identity) -> Option<(Self, u64)> {
        let mut fields = Fields(bytes);
        let is_segment = &fields.array::<8>()? == MAGIC;
        let crc = fields.u32()?;
        let covered = fields.0;
        let is_ours = fields.array()? == identity.0;
        let header = Self {
            session: fields.u64()?,
            record: fields.u64()?,
            reading: fields.u64()?,
            source: SourceMark::read(&mut fields)?,
        };
        let length = covered.len() - fields.0.len();
        let is_whole = crc32fast::hash(&covered[..length]) == crc;
        (is_segment && is_ours && is_whole).then_some((header, 12 + length as u64))
    }
}

/// A segment as the log knows it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    /// Where its first record begins.
    pub(super) body_at: u64,
    /// Bytes that are durable, the header included.
    pub(super) bytes: u64,
    /// Number of its last record, or of the one before it.
    pub(super) last_record: u64,
    /// How many readings were ever taken up to its end.
    pub(super) last_reading: u64,
}

impl Segment {
    pub(super) fn first_record(&self) -> u64 {
        self.header.record
    }

    pub(super) fn readings(&self) -> u64 {
        self.last_reading - self.header.reading
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last_record < self.header.record
    }
}

/// Makes a segment without records, and has it on the disk.
pub(super) fn create(
    folder: &Folder,
    header: SegmentHeader,
) -> Result<(Segment, File), SpoolError> {
    let path = folder.segment(header.record);
    // One that a crash has left without a record may be there.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("create", &path))?;
    let bytes = header.bytes(folder.identity());
    let written = file
        .write_all_at(&bytes, 0)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &path))
        .and_then(|()| folder.sync());
    if let Err(error) = written {
        // On a full disk even this much is in the way.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    let segment = Segment {
        body_at: bytes.len() as u64,
        bytes: bytes.len() as u64,
        last_record: header.record - 1,
        last_reading: header.reading,
        header,
    };
    Ok((segment, file))
}

/// A segment whose header was read, and nothing else.
pub(super) fn open(folder: &Folder, first_record: u64) -> Result<Option<Segment>, SpoolError> {
    let path = folder.segment(first_record);
    let file = File::open(&path).map_err(failed("open", &path))?;
    let bytes = file.metadata().map_err(failed("read", &path))?.len();
    let mut head = vec![0; MOST_HEADER_BYTES.min(bytes as usize)];
    file.read_exact_at(&mut head, 0)
        .map_err(failed("read", &path))?;
    let found = SegmentHeader::parse(&head, folder.identity());
    Ok(found
        .filter(|(header, _)| header.record == first_record)
        .map(|(header, body_at)| Segment {
            body_at,
            bytes,
            last_record: header.record - 1,
            last_reading: header.reading,
            header,
        }))
}

/// What the records of a segment are, read from its beginning.
pub(super) struct Scan {
    pub(super) last_record: u64,
    pub(super) last_reading: u64,
    /// The last mark that was met.
    pub(super) source: Option<SourceMark>,
    /// Where the last whole record ends.
    pub(super) end: u64,
    /// Bytes behind it.
    pub(super) rest: u64,
    /// Where bytes are no record although whole ones follow.
    pub(super) damaged_at: Option<u64>,
}

/// Reads all records of a segment.
pub(super) fn scan(segment: &Segment, path: &Path) -> Result<Scan, SpoolError> {
    let bytes = std::fs::read(path).map_err(failed("read", path))?;
    let mut scan = Scan {
        last_record: segment.first_record() - 1,
        last_reading: segment.header.reading,
        source: None,
        end: segment.body_at,
        rest: 0,
        damaged_at: None,
    };
    while let Some((at, header)) =
        record::find_next(&bytes, scan.end as usize, scan.last_record + 1)
    {
        if at as u64 > scan.end || header.record > scan.last_record + 1 {
            scan.damaged_at.get_or_insert(scan.end);
        }
        scan.end = at as u64 + header.frame_bytes();
        if header.is_end {
            // What was before it is what it says, whether that can be read or not.
            scan.last_record = header.record - 1;
            scan.last_reading = header.reading;
            break;
        }
        scan.last_record = header.record;
        scan.last_reading = header.last_reading();
        let payload = &bytes[at + record::HEADER_BYTES..scan.end as usize];
        if let Some((_, position)) = record::decode(&header, payload)
            && !position.is_empty()
        {
            scan.source = Some(SourceMark {
                position,
                reading: header.reading + u64::from(header.marked),
            });
        }
    }
    scan.rest = bytes.len() as u64 - scan.end;
    Ok(scan)
}
