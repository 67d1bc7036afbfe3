//! A record: the readings that one fsync covers, behind a header that says what they are and whether they are whole.
//!
//! ```text
//! magic        4   "SGR1"; "SGE1" ends a segment that was closed in order, and has nothing else
//! header_crc   4   of what follows in the header
//! length       4   bytes of the payload
//! payload_crc  4
//! record       8   from 1, without a gap
//! reading      8   how many readings were ever taken before this record
//! readings     4   in this record
//! marked       4   so many of them stand before the source position that it has
//! payload          a StreamReadingsRequest of the contract: columns, and the source position
//! ```

use prost::Message as _;

use super::bytes::{Fields, put_u32, put_u64};
use crate::v1::{ColumnBatch, StreamReadingsRequest, stream_readings_request::Message};

pub(super) const HEADER_BYTES: usize = 40;
const MAGIC: &[u8; 4] = b"SGR1";
const END: &[u8; 4] = b"SGE1";
/// Beyond, a length is damage: no record is as long.
const MOST_PAYLOAD_BYTES: u32 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_end: bool,
    pub(super) length: u32,
    payload_crc: u32,
    pub(super) record: u64,
    pub(super) reading: u64,
    pub(super) readings: u32,
    pub(super) marked: u32,
}

impl Header {
    /// Bytes of header and payload.
    pub(super) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.length)
    }

    /// How many readings were ever taken up to its end.
    pub(super) fn last_reading(&self) -> u64 {
        self.reading + u64::from(self.readings)
    }

    /// None for bytes that are no whole header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..HEADER_BYTES)?);
        let magic = fields.array::<4>()?;
        let header_crc = fields.u32()?;
        let is_end = &magic == END;
        if (!is_end && &magic != MAGIC) || crc32fast::hash(fields.0) != header_crc {
            return None;
        }
        let header = Self {
            is_end,
            length: fields.u32()?,
            payload_crc: fields.u32()?,
            record: fields.u64()?,
            reading: fields.u64()?,
            readings: fields.u32()?,
            marked: fields.u32()?,
        };
        (header.length <= MOST_PAYLOAD_BYTES).then_some(header)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut rest = Vec::with_capacity(HEADER_BYTES);
        put_u32(&mut rest, self.length);
        put_u32(&mut rest, self.payload_crc);
        put_u64(&mut rest, self.record);
        put_u64(&mut rest, self.reading);
        put_u32(&mut rest, self.readings);
        put_u32(&mut rest, self.marked);
        out.extend_from_slice(if self.is_end { END } else { MAGIC });
        put_u32(out, crc32fast::hash(&rest));
        out.extend_from_slice(&rest);
    }

    /// Whether this is the payload that was written.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.payload_crc
    }
}

/// What is written.
#[derive(Debug, Default, Clone)]
pub(super) struct Batch {
    pub(super) columns: ColumnBatch,
    pub(super) source_position: Vec<u8>,
    /// So many readings stand before the source position.
    pub(super) marked: u32,
}

impl Batch {
    pub(super) fn readings(&self) -> u32 {
        // A record is full long before.
        self.columns.sensor_value.len() as u32
    }

    /// The frame of the record with this number, before which so many readings were taken.
    pub(super) fn frame(&self, record: u64, reading: u64) -> Vec<u8> {
        let payload = StreamReadingsRequest {
            message: Some(Message::Columns(self.columns.clone())),
            source_position: self.source_position.clone(),
        }
        .encode_to_vec();
        let header = Header {
            is_end: false,
            length: payload.len() as u32,
            payload_crc: crc32fast::hash(&payload),
            record,
            reading,
            readings: self.readings(),
            marked: self.marked,
        };
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
        header.write(&mut frame);
        frame.extend_from_slice(&payload);
        frame
    }
}

/// Ends a segment in which nothing follows.
pub(super) fn end_frame(next_record: u64, reading: u64) -> Vec<u8> {
    let header = Header {
        is_end: true,
        length: 0,
        payload_crc: crc32fast::hash(&[]),
        record: next_record,
        reading,
        readings: 0,
        marked: 0,
    };
    let mut frame = Vec::with_capacity(HEADER_BYTES);
    header.write(&mut frame);
    frame
}

/// The columns of a payload that fits its header, and its source position. None when it is none of ours.
pub(super) fn decode(header: &Header, payload: &[u8]) -> Option<(ColumnBatch, Vec<u8>)> {
    let request = StreamReadingsRequest::decode(payload).ok()?;
    let Some(Message::Columns(columns)) = request.message else {
        return None;
    };
    let readings = header.readings as usize;
    let is_whole = columns.series_index.len() == readings
        && columns.sensor_value.len() == readings
        && columns.timestamp_delta_us.len() == readings
        && columns
            .series_index
            .iter()
            .all(|index| (*index as usize) < columns.series.len());
    is_whole.then_some((columns, request.source_position))
}

/// Where the next whole record begins in these bytes, from `from` on: what stands before it is damage.
pub(super) fn find_next(bytes: &[u8], from: usize, least_record: u64) -> Option<(usize, Header)> {
    (from..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        if !rest.starts_with(b"SG") {
            return None;
        }
        let header = Header::parse(rest)?;
        let payload = rest.get(HEADER_BYTES..HEADER_BYTES + header.length as usize)?;
        (header.record >= least_record && header.fits(payload)).then_some((at, header))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1::Series;

    fn batch(readings: usize) -> Batch {
        Batch {
            columns: ColumnBatch {
                series: vec![Series {
                    id1: -4,
                    id2: "boiler".to_owned(),
                    sensor_type: "temperature".to_owned(),
                }],
                series_index: vec![0; readings],
                sensor_value: (0..readings).map(|value| value as f64).collect(),
                base_timestamp_us: i64::MAX,
                timestamp_delta_us: vec![-1; readings],
                ..ColumnBatch::default()
            },
            source_position: b"here".to_vec(),
            marked: readings as u32,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let batch = batch(3);
        let frame = batch.frame(9, 70);
        let header = Header::parse(&frame).unwrap();
        assert_eq!((header.record, header.reading, header.readings), (9, 70, 3));
        assert_eq!((header.last_reading(), header.marked), (73, 3));
        assert_eq!(header.frame_bytes(), frame.len() as u64);
        let payload = &frame[HEADER_BYTES..];
        assert!(header.fits(payload));
        let (columns, position) = decode(&header, payload).unwrap();
        assert_eq!((columns, position), (batch.columns, b"here".to_vec()));
        assert!(Header::parse(&end_frame(4, 5)).unwrap().is_end);
    }

    proptest! {
        #[test]
        fn no_flipped_bits_go_unnoticed(readings in 0..40_usize, flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
            let frame = batch(readings).frame(1, 0);
            let mut damaged = frame.clone();
            for flip in flips {
                let bit = flip.index(8 * frame.len());
                damaged[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assume!(damaged != frame);
            let whole = Header::parse(&damaged).is_some_and(|header| header.fits(&damaged[HEADER_BYTES..]));
            prop_assert!(!whole);
        }

        #[test]
        fn the_next_record_is_found_behind_any_rubbish(rubbish in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [rubbish.clone(), b"SGR1SG".to_vec(), batch(2).frame(5, 8)].concat();
            let (at, header) = find_next(&bytes, 0, 1).unwrap();
            prop_assert_eq!((at, header.record), (rubbish.len() + 6, 5));
            prop_assert!(find_next(&bytes, 0, 6).is_none());
        }
    }
}
