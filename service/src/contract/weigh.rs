//! What a message takes in memory, found out before it is decoded (P4): on the wire an empty reading is two bytes,
//! decoded it is seventy. One walk over the tags: of a row or a series only the length is read, of packed columns the
//! elements are counted.

use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use sluicegate_proto::v1::{
    ColumnBatch, OpenStreamRequest, SensorBatch, SensorReading, Series, SeriesTags,
    StreamReadingsRequest, WatchReadingsRequest, stream_readings_request,
};

use crate::{
    model::TaggedSeries,
    usecase::ingest::{IngestError, ROOM_OF_READING_BYTES},
};

/// Twice as many as a message of 4 MiB has of good ones. The same holds for series.
const ELEMENTS_MAX: usize = 1_000_000;
/// What the allocator takes for the two texts of a row or a series, beside their bytes.
const TEXTS_BYTES: usize = 64;
/// What a tag takes in a map, beside its texts.
const TAG_BYTES: usize = 4 * size_of::<String>();

/// A message is cut short, or no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl From<DecodeError> for Unreadable {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

/// What was counted in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    rows: usize,
    series: usize,
    series_index: usize,
    sensor_value: usize,
    timestamp_delta_us: usize,
    /// Bytes of rows on the wire, texts mostly.
    row_bytes: usize,
    /// Bytes of series on the wire, and of their tags.
    series_bytes: usize,
    /// Series with tags, and those tags.
    tagged: usize,
    tags: usize,
    /// Fields that a reader of the contract knows, other than readings and series.
    others: usize,
    unknown: usize,
    kinds: Kinds,
}

/// What a message of a stream is. Of several a reader of protobuf keeps the last, and loses the readings of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds {
    header: bool,
    rows: bool,
    columns: bool,
}

impl Weight {
    /// Memory that the message takes until it is settled, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let readings = self
            .series_index
            .max(self.sensor_value)
            .max(self.timestamp_delta_us);
        (self.rows + readings) * ROOM_OF_READING_BYTES
            + self.rows * (size_of::<SensorReading>() + TEXTS_BYTES)
            + self.row_bytes
            // A series is copied into the dictionary of its call while it is here, which grows by doubling.
            + self.series * (2 * size_of::<Series>() + TEXTS_BYTES)
            + self.series_bytes * 3
            // Once as they are decoded and once as they are handed over.
            + self.tagged * (size_of::<SeriesTags>() + size_of::<TaggedSeries>())
            + self.tags * 2 * (TAG_BYTES + TEXTS_BYTES)
    }

    fn check(&self, rows: &str, series: &str) -> Result<(), IngestError> {
        let malformed = |field: &str, reason| {
            Err(IngestError::Malformed {
                field: field.to_owned(),
                reason,
            })
        };
        for (field, name, count) in [
            (rows, "readings", self.rows),
            ("columns.series_index", "readings", self.series_index),
            ("columns.sensor_value", "readings", self.sensor_value),
            (
                "columns.timestamp_delta_us",
                "readings",
                self.timestamp_delta_us,
            ),
            (series, "series", self.series),
            ("columns.series_tags", "series", self.tagged),
            ("columns.series_tags", "tags", self.tags),
        ] {
            if count > ELEMENTS_MAX {
                return malformed(
                    field,
                    format!(
                        "{count} {name} in one message, but {ELEMENTS_MAX} are the most: send it in parts"
                    ),
                );
            }
        }
        let Kinds {
            header,
            rows,
            columns,
        } = self.kinds;
        if [header, rows, columns].into_iter().filter(|&it| it).count() > 1 {
            let reason = "the message has more than one of header, rows and columns, and only the last of them would count: \
                          send each in a message of its own";
            return malformed("message", reason.to_owned());
        }
        let known = self.rows + self.series + self.series_index + self.tagged + self.others;
        if known == 0 && self.unknown > 0 {
            let reason = "the message holds nothing but fields that the contract does not know: nothing of it could be stored";
            return malformed("message", reason.to_owned());
        }
        Ok(())
    }
}

/// A message that is weighed before it is decoded.
pub(crate) trait Weighed: Message + Default {
    /// Counts what is in an encoded message.
    ///
    /// # Errors
    /// When the message is cut short or no protobuf.
    fn count(encoded: &[u8]) -> Result<Weight, Unreadable>;

    /// The name of its rows.
    const ROWS: &'static str = "readings";
    /// The name of its series.
    const SERIES: &'static str = "columns.series";

    /// An empty message with as much room as the weighed one needs, so that decoding never takes more.
    fn with_room(_weight: &Weight) -> Self {
        Self::default()
    }

    /// What an encoded message takes in memory.
    ///
    /// # Errors
    /// When it has too many readings or series, or nothing that could be stored.
    fn weigh(encoded: &[u8]) -> Result<Result<Weight, IngestError>, Unreadable> {
        let weight = Self::count(encoded)?;
        Ok(weight.check(Self::ROWS, Self::SERIES).map(|()| weight))
    }
}

impl Weighed for SensorReading {
    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        Ok(Weight {
            rows: 1,
            row_bytes: encoded.len(),
            ..Weight::default()
        })
    }
}

impl Weighed for OpenStreamRequest {
    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        Ok(Weight {
            row_bytes: encoded.len(),
            others: 1,
            ..Weight::default()
        })
    }
}

impl Weighed for WatchReadingsRequest {
    const SERIES: &'static str = "pairs";

    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        let mut weight = Weight {
            row_bytes: encoded.len(),
            ..Weight::default()
        };
        let mut rest = encoded;
        while !rest.is_empty() {
            match decode_key(&mut rest)? {
                (1, WireType::LengthDelimited) => {
                    weight.series += 1;
                    weight.series_bytes += delimited(&mut rest)?.len();
                }
                (3, WireType::LengthDelimited) => {
                    weight.tags += 1;
                    weight.series_bytes += delimited(&mut rest)?.len();
                }
                (tag @ (2 | 4 | 5), wire_type) => {
                    weight.others += 1;
                    skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
                }
                (tag, wire_type) => skip(tag, wire_type, &mut rest, &mut weight)?,
            }
        }
        Ok(weight)
    }

    fn with_room(weight: &Weight) -> Self {
        Self {
            pairs: Vec::with_capacity(weight.series),
            ..Self::default()
        }
    }
}

impl Weighed for SensorBatch {
    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        let mut weight = Weight::default();
        rows(encoded, &mut weight)?;
        Ok(weight)
    }

    fn with_room(weight: &Weight) -> Self {
        Self {
            readings: Vec::with_capacity(weight.rows),
            position: None,
        }
    }
}

impl Weighed for ColumnBatch {
    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        let mut weight = Weight::default();
        columns(encoded, &mut weight)?;
        Ok(weight)
    }

    fn with_room(weight: &Weight) -> Self {
        Self {
            series: Vec::with_capacity(weight.series),
            series_index: Vec::with_capacity(weight.series_index),
            sensor_value: Vec::with_capacity(weight.sensor_value),
            timestamp_delta_us: Vec::with_capacity(weight.timestamp_delta_us),
            series_tags: Vec::with_capacity(weight.tagged),
            ..Self::default()
        }
    }
}

impl Weighed for StreamReadingsRequest {
    const ROWS: &'static str = "rows.readings";

    fn count(encoded: &[u8]) -> Result<Weight, Unreadable> {
        let mut weight = Weight::default();
        let mut rest = encoded;
        while !rest.is_empty() {
            match decode_key(&mut rest)? {
                (1, WireType::LengthDelimited) => {
                    weight.kinds.header = true;
                    weight.others += 1;
                    weight.row_bytes += delimited(&mut rest)?.len();
                }
                (2, WireType::LengthDelimited) => {
                    weight.kinds.rows = true;
                    rows(delimited(&mut rest)?, &mut weight)?;
                }
                (3, WireType::LengthDelimited) => {
                    weight.kinds.columns = true;
                    columns(delimited(&mut rest)?, &mut weight)?;
                }
                (4, WireType::LengthDelimited) => {
                    weight.others += 1;
                    // Once as it came and once as it is kept.
                    weight.row_bytes += 2 * delimited(&mut rest)?.len() + TEXTS_BYTES;
                }
                (tag, wire_type) => skip(tag, wire_type, &mut rest, &mut weight)?,
            }
        }
        Ok(weight)
    }

    fn with_room(weight: &Weight) -> Self {
        use stream_readings_request::Message::{Columns, Rows};
        let message = if weight.kinds.rows {
            Some(Rows(SensorBatch::with_room(weight)))
        } else if weight.kinds.columns {
            Some(Columns(ColumnBatch::with_room(weight)))
        } else {
            None
        };
        Self {
            message,
            source_position: Vec::new(),
        }
    }
}

/// The fields of a `SensorBatch`.
fn rows(mut rest: &[u8], weight: &mut Weight) -> Result<(), Unreadable> {
    while !rest.is_empty() {
        match decode_key(&mut rest)? {
            (1, WireType::LengthDelimited) => {
                weight.rows += 1;
                weight.row_bytes += delimited(&mut rest)?.len();
            }
            (2, WireType::LengthDelimited) => {
                weight.others += 1;
                weight.row_bytes += delimited(&mut rest)?.len();
            }
            (tag, wire_type) => skip(tag, wire_type, &mut rest, weight)?,
        }
    }
    Ok(())
}

/// The fields of a `ColumnBatch`.
fn columns(mut rest: &[u8], weight: &mut Weight) -> Result<(), Unreadable> {
    while !rest.is_empty() {
        match decode_key(&mut rest)? {
            (1, WireType::LengthDelimited) => {
                weight.series += 1;
                weight.series_bytes += delimited(&mut rest)?.len();
            }
            (2 | 5, WireType::Varint) => {
                decode_varint(&mut rest)?;
            }
            (3, WireType::LengthDelimited) => {
                weight.series_index += varints(delimited(&mut rest)?);
            }
            (3, WireType::Varint) => {
                decode_varint(&mut rest)?;
                weight.series_index += 1;
            }
            (4, WireType::LengthDelimited) => {
                weight.sensor_value += delimited(&mut rest)?.len() / size_of::<f64>();
            }
            (4, WireType::SixtyFourBit) => {
                skip_field(
                    WireType::SixtyFourBit,
                    4,
                    &mut rest,
                    DecodeContext::default(),
                )?;
                weight.sensor_value += 1;
            }
            (6, WireType::LengthDelimited) => {
                weight.timestamp_delta_us += varints(delimited(&mut rest)?);
            }
            (6, WireType::Varint) => {
                decode_varint(&mut rest)?;
                weight.timestamp_delta_us += 1;
            }
            (7, WireType::LengthDelimited) => {
                let of_series = delimited(&mut rest)?;
                weight.tagged += 1;
                weight.series_bytes += of_series.len();
                weight.tags += tags(of_series)?;
            }
            (tag, wire_type) => skip(tag, wire_type, &mut rest, weight)?,
        }
    }
    Ok(())
}

/// How many tags a `SeriesTags` has.
fn tags(mut rest: &[u8]) -> Result<usize, Unreadable> {
    let mut tags = 0;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        tags += usize::from(tag == 2);
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
    }
    Ok(tags)
}

/// How many varints are in packed bytes: each has one last byte, which is below 128.
fn varints(packed: &[u8]) -> usize {
    // Sums of a byte's width are what a processor adds up many of at once.
    let continued = |bytes: &[u8]| usize::from(bytes.iter().map(|byte| byte >> 7).sum::<u8>());
    packed.len() - packed.chunks(128).map(continued).sum::<usize>()
}

/// What a length stands before.
fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
    let (value, after) = rest.split_at_checked(length).ok_or(Unreadable)?;
    *rest = after;
    Ok(value)
}

fn skip(
    tag: u32,
    wire_type: WireType,
    rest: &mut &[u8],
    weight: &mut Weight,
) -> Result<(), Unreadable> {
    weight.unknown += 1;
    Ok(skip_field(wire_type, tag, rest, DecodeContext::default())?)
}

/// Bytes of the texts and vectors of a decoded message.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn bytes_of(request: &StreamReadingsRequest) -> usize {
    use stream_readings_request::Message::{Columns, Rows};
    let message = match &request.message {
        Some(Rows(batch)) => {
            let texts = batch.readings.iter();
            texts
                .map(|one| one.id2.capacity() + one.sensor_type.capacity())
                .sum::<usize>()
                + batch.readings.capacity() * size_of::<SensorReading>()
        }
        Some(Columns(batch)) => {
            let texts = batch.series.iter();
            texts
                .map(|one| one.id2.capacity() + one.sensor_type.capacity())
                .sum::<usize>()
                + batch.series.capacity() * size_of::<Series>()
                + batch.series_index.capacity() * size_of::<u32>()
                + batch.sensor_value.capacity() * size_of::<f64>()
                + batch.timestamp_delta_us.capacity() * size_of::<i64>()
        }
        _ => 0,
    };
    message + request.source_position.capacity()
}

#[cfg(test)]
mod tests;
