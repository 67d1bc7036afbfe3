//! What was decoded of payloads, as the readings of a message: good ones in columns, and in their places what could not be
//! decoded, for the quarantine (P5).

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault},
    sync::Arc,
};

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use sluicegate_decode::{Fault, Field as DecodedField, Name, Reading};

use super::columns::{ColumnReadings, NO_SERIES, ROOM_OF_READING_BYTES, Readings};
use crate::model::{Field, LongName, Origin, Series, TaggedSeries, Tags, Undecoded};

/// What is kept of the reason of a fault, in characters. It may quote the name of a field, which is as long as it likes.
const REASON_CHARS: usize = 256;
/// What a fault takes, bytes.
/// What it keeps of its payload is not more than the payload has, unless it shares that with others.
const FAULT_BYTES: usize = size_of::<Undecoded>() + 4 * REASON_CHARS + Origin::SHARED_BYTES;
/// A series of a message, beside its text: the table that finds it, and what the lane makes of it.
const SERIES_BYTES: usize = 3 * size_of::<Series>();

/// Memory that a payload may take from when it is decoded until it is settled, bytes: of as many readings and faults, each
/// reading with a series of its own. A payload has no more text than it has bytes, for each series three times.
#[must_use]
pub fn room_bytes(payload_bytes: usize, readings: usize, faults: usize) -> usize {
    readings * (ROOM_OF_READING_BYTES + SERIES_BYTES)
        + faults * (ROOM_OF_READING_BYTES + FAULT_BYTES)
        + 3 * payload_bytes
}

/// Readings of a message that is being put together.
#[derive(Debug, Default)]
pub struct Decoded {
    columns: ColumnReadings,
    /// Finds a series of `columns`.
    known: HashTable<u32>,
    hasher: BuildHasherDefault<FxHasher>,
    /// Of each series of which something is said, where that stands among the tags of `columns`.
    tagged: HashMap<u32, usize>,
    long_names: Vec<LongName>,
}

impl Decoded {
    /// How many there are, good and bad.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.series_index.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a reading.
    pub fn push(&mut self, reading: &Reading<'_>) {
        let series = (reading.id1, reading.id2.text, reading.sensor_type.text);
        let hash = self.hasher.hash_one(series);
        let all = &self.columns.series;
        let found = self.known.find(hash, |&index| parts(all, index) == series);
        let index = match found {
            Some(&index) => index,
            None => self.meet(reading, hash),
        };
        self.tell(index, reading);
        self.columns.series_index.push(index);
        self.columns.sensor_value.push(reading.sensor_value);
        self.columns.timestamp_delta_us.push(reading.timestamp_us);
    }

    fn meet(&mut self, reading: &Reading<'_>, hash: u64) -> u32 {
        for name in [reading.id2, reading.sensor_type] {
            self.long_names.extend(long_name(name));
        }
        let series = &mut self.columns.series;
        let index = series.len() as u32;
        series.push(Series {
            id1: reading.id1,
            id2: reading.id2.text.to_owned(),
            sensor_type: reading.sensor_type.text.to_owned(),
        });
        let (all, hasher) = (&self.columns.series, &self.hasher);
        self.known
            .insert_unique(hash, index, |&other| hasher.hash_one(parts(all, other)));
        index
    }

    /// What the last reading of a series says is what the message says; one that says nothing changes nothing.
    fn tell(&mut self, index: u32, reading: &Reading<'_>) {
        let mut told = reading.series_tags.iter().peekable();
        if told.peek().is_none() {
            return;
        }
        let place = self.tagged.get(&index).copied();
        if let Some(place) = place {
            let known = &self.columns.tags[place].tags;
            let told: Vec<_> = reading.series_tags.iter().collect();
            let is_known =
                |(tag, value): &(&str, &str)| known.get(*tag).is_some_and(|known| known == value);
            if told.len() == known.len() && told.iter().all(is_known) {
                return;
            }
        }
        let tags: Tags = told
            .map(|(tag, value)| (tag.to_owned(), value.to_owned()))
            .collect();
        match place {
            Some(place) => self.columns.tags[place].tags = tags,
            None => {
                self.tagged.insert(index, self.columns.tags.len());
                self.columns.tags.push(TaggedSeries { index, tags });
            }
        }
    }

    /// Takes what could not be decoded; `origin` says where it came from.
    pub fn push_fault(&mut self, fault: &Fault, origin: Origin) {
        self.push_undecoded(Undecoded {
            field: field(fault.field),
            reason: fault
                .reason()
                .to_string()
                .chars()
                .take(REASON_CHARS)
                .collect(),
            value: fault.value.clone(),
            origin,
        });
    }

    /// Takes what is no reading, in its place.
    pub fn push_undecoded(&mut self, undecoded: Undecoded) {
        let place = self.len() as u32;
        self.columns.undecoded.push((place, Arc::new(undecoded)));
        self.columns.series_index.push(NO_SERIES);
        self.columns.sensor_value.push(0.0);
        self.columns.timestamp_delta_us.push(0);
    }

    /// The message, and the full texts of names in it that were shortened.
    #[must_use]
    pub fn finish(self) -> (Readings, Vec<LongName>) {
        (Readings::Columns(self.columns), self.long_names)
    }
}

fn parts(all: &[Series], index: u32) -> (i32, &str, &str) {
    let series = &all[index as usize];
    (series.id1, &series.id2, &series.sensor_type)
}

fn long_name(Name { text, full }: Name<'_>) -> Option<LongName> {
    Some(LongName::of(text, full?))
}

/// The field of a reading that is wrong. Tags and topics are not fields of one.
fn field(field: DecodedField) -> Field {
    match field {
        DecodedField::SensorValue => Field::SensorValue,
        DecodedField::SensorType => Field::SensorType,
        DecodedField::Id1 => Field::Id1,
        DecodedField::Id2 => Field::Id2,
        DecodedField::TimestampUs => Field::TimestampUs,
        DecodedField::Tags | DecodedField::Topic | DecodedField::Payload => Field::Payload,
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_decode::{Context, Decoder, Limits as NameLimits, Mapping};

    use super::*;
    use crate::{
        model::{Limits, PayloadContext, Seq},
        repository::LoadBatch as _,
        usecase::ingest::{batch::OpenBatch, dictionary::Dictionary},
    };

    fn decoded(payload: &[u8]) -> Decoded {
        let mapping = Arc::new(Mapping::line_protocol());
        let mut decoder = Decoder::new(mapping, NameLimits::default());
        let mut message = decoder.message(&Context::default()).unwrap();
        let mut decoded = Decoded::default();
        message.whole_in_pieces(payload, |outcome| match outcome {
            Ok(reading) => decoded.push(&reading),
            Err((fault, piece)) => {
                let context = PayloadContext::default();
                decoded.push_fault(&fault, Origin::of("here", piece, &context));
            }
        });
        decoded
    }

    #[test]
    fn good_and_bad_lines_keep_their_places() {
        let decoded =
            decoded(b"boiler,id1=4,id2=A t=1 7000\nboiler t=hot\nboiler,id1=4,id2=A t=2 9000\n");
        assert_eq!(decoded.len(), 3);
        let (Readings::Columns(columns), _) = decoded.finish() else {
            panic!("columns");
        };
        assert_eq!(columns.series.len(), 1, "a series is sent once");
        let mut dictionary = Dictionary::default();
        dictionary.extend(&columns.series);
        dictionary.enter_batch(1);
        let mut batch = OpenBatch::default();
        let readings = Readings::Columns(columns);
        batch.check(Seq(1), readings, &mut dictionary, &Limits::default());
        let batch = batch.seal(Seq(1), false);
        assert_eq!(batch.columns().timestamp_us, [7, 9]);
        assert_eq!(batch.series(0), (4, "A", "boiler.t"));
        let [bad] = batch.rejections() else {
            panic!("{:?}", batch.rejections());
        };
        assert_eq!((bad.seq, bad.fault.field()), (Seq(2), Field::SensorValue));
        let origin = bad.origin().unwrap();
        assert_eq!(
            (&*origin.place, &*origin.payload),
            ("here", &b"boiler t=hot"[..])
        );
        let reason = bad.fault.to_string();
        assert!(reason.contains("hot"), "{reason}");
    }

    #[test]
    fn a_name_that_was_shortened_is_handed_over_with_its_full_text() {
        let long = format!("boiler,host={} t=1 1000\n", "x".repeat(80));
        let (readings, names) = decoded(long.repeat(2).as_bytes()).finish();
        assert_eq!(readings.len(), 2);
        assert_eq!(names.len(), 1, "once for a series");
        assert!(names[0].full_name().ends_with("xxx"));
    }
}
