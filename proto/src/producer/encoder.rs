//! Turns batches into the messages of one call. A message stays below the limit of bytes, so one batch can become
//! several messages; positions follow from the order.

use std::collections::VecDeque;

use prost::Message as _;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    batch::{Readings, SealedBatch},
    series::SeriesTable,
};
use crate::v1::{
    ColumnBatch, SensorBatch, SensorReading, Series, SeriesTags, StreamReadingsRequest,
    stream_readings_request::Message,
};

/// The most bytes that one reading takes in a `ColumnBatch`: series index (5), value (8), time delta (10).
pub(super) const COLUMNS_READING_BYTES: usize = 23;
/// Tag and length in front of an embedded message.
const EMBEDDED_BYTES: usize = 4;
/// The most that the place of a series takes which has tags, with its tag.
const PLACE_BYTES: usize = 6;

/// How readings travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Packed columns and a dictionary of series: the fast form.
    #[default]
    Columns,
    /// One message per reading, with its series spelled out every time.
    Rows,
}

/// How a call spells its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dictionary {
    /// Every reading carries its series.
    Rows,
    /// A series is sent once per call.
    PerCall,
    /// Every message carries the series that it uses.
    PerMessage,
}

#[derive(Debug)]
pub(super) struct Encoder {
    dictionary: Dictionary,
    max_message_bytes: usize,
    /// So many series of the producer's table are known to this call.
    announced: u32,
    /// Those of which this call was told tags, where each message has a dictionary of its own.
    tagged: FxHashSet<u32>,
    messages: VecDeque<StreamReadingsRequest>,
}

impl Encoder {
    pub(super) fn new(dictionary: Dictionary, max_message_bytes: usize) -> Self {
        Self {
            dictionary,
            max_message_bytes,
            announced: 0,
            tagged: FxHashSet::default(),
            messages: VecDeque::new(),
        }
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    pub(super) fn next_message(&mut self) -> Option<StreamReadingsRequest> {
        self.messages.pop_front()
    }

    /// Appends the messages for a batch, of which the one that ends at its mark says where that is in the source.
    pub(super) fn encode_batch(&mut self, batch: &SealedBatch, table: &SeriesTable) {
        let readings = batch.readings();
        let Some((behind, source_position)) = batch.mark() else {
            return self.encode(readings, table);
        };
        let (before, after) = readings.split_at(behind);
        match before.values.is_empty() {
            // A message of its own: it says nothing of what follows.
            true => self.messages.push_back(StreamReadingsRequest::default()),
            false => self.encode(before, table),
        }
        if let Some(last) = self.messages.back_mut() {
            last.source_position = source_position.to_vec();
        }
        if !after.values.is_empty() {
            self.encode(after, table);
        }
    }

    /// Appends the messages for these readings.
    fn encode(&mut self, readings: Readings<'_>, table: &SeriesTable) {
        match self.dictionary {
            Dictionary::Rows => self.encode_rows(readings, table),
            Dictionary::PerCall => self.encode_with_call_dictionary(readings, table),
            Dictionary::PerMessage => self.encode_with_own_dictionaries(readings, table),
        }
    }

    fn emit(&mut self, message: Message) {
        self.messages.push_back(StreamReadingsRequest {
            message: Some(message),
            source_position: Vec::new(),
        });
    }

    /// Appends a message that brings series and no reading.
    fn emit_dictionary(&mut self, dictionary: &mut ColumnBatch) {
        self.emit(Message::Columns(ColumnBatch {
            extend_dictionary: true,
            ..std::mem::take(dictionary)
        }));
    }

    fn encode_rows(&mut self, readings: Readings<'_>, table: &SeriesTable) {
        let mut rows = Vec::with_capacity(readings.values.len());
        let mut bytes = 0;
        for i in 0..readings.values.len() {
            let series = lookup(table, readings.series[i]);
            let reading = SensorReading {
                sensor_value: Some(readings.values[i]),
                sensor_type: series.sensor_type.clone(),
                id1: series.id1,
                id2: series.id2.clone(),
                timestamp_us: Some(readings.timestamps_us[i]),
            };
            let reading_bytes = reading.encoded_len() + EMBEDDED_BYTES;
            if bytes + reading_bytes > self.max_message_bytes && !rows.is_empty() {
                self.emit(rows_message(std::mem::take(&mut rows)));
                bytes = 0;
            }
            bytes += reading_bytes;
            rows.push(reading);
        }
        self.emit(rows_message(rows));
    }

    fn encode_with_call_dictionary(&mut self, readings: Readings<'_>, table: &SeriesTable) {
        let needed = readings.series.iter().max().map_or(0, |max| max + 1);
        let mut new = ColumnBatch::default();
        let mut bytes = readings.values.len() * COLUMNS_READING_BYTES;
        if needed > self.announced {
            for (index, series) in (self.announced..).zip(table.range(self.announced, needed)) {
                let tags = table.tags(index);
                let series_bytes = announced_bytes(series, tags.as_ref());
                // A dictionary that leaves no room for the readings goes ahead of them.
                if bytes + series_bytes > self.max_message_bytes && !new.series.is_empty() {
                    self.emit_dictionary(&mut new);
                    bytes = readings.values.len() * COLUMNS_READING_BYTES;
                }
                bytes += series_bytes;
                announce(&mut new, series, tags);
            }
            // One series with all that is said of it may leave none by itself.
            if bytes > self.max_message_bytes && !new.series_tags.is_empty() {
                self.emit_dictionary(&mut new);
            }
            self.announced = needed;
        }
        let mut start = 0;
        while start < readings.values.len() {
            let base = readings.timestamps_us[start];
            let deltas: Vec<i64> = readings.timestamps_us[start..]
                .iter()
                // Times that are more than 2^63 microseconds apart need a base of their own.
                .map_while(|time| time.checked_sub(base))
                .collect();
            let end = start + deltas.len();
            self.emit(Message::Columns(ColumnBatch {
                extend_dictionary: true,
                series_index: readings.series[start..end].to_vec(),
                sensor_value: readings.values[start..end].to_vec(),
                base_timestamp_us: base,
                timestamp_delta_us: deltas,
                ..std::mem::take(&mut new)
            }));
            start = end;
        }
    }

    fn encode_with_own_dictionaries(&mut self, readings: Readings<'_>, table: &SeriesTable) {
        let mut local: FxHashMap<u32, u32> = FxHashMap::default();
        let mut batch = ColumnBatch::default();
        let mut bytes = 0;
        for i in 0..readings.values.len() {
            let time = readings.timestamps_us[i];
            let series = lookup(table, readings.series[i]);
            let number = readings.series[i];
            let tags = match self.tagged.contains(&number) {
                false => table.tags(number),
                true => None,
            };
            let announced_bytes = announced_bytes(series, tags.as_ref());
            let series_bytes = match local.contains_key(&number) {
                false => announced_bytes,
                true => 0,
            };
            let full = bytes + series_bytes + COLUMNS_READING_BYTES > self.max_message_bytes;
            let apart = time.checked_sub(batch.base_timestamp_us).is_none();
            if (full || apart) && !batch.sensor_value.is_empty() {
                self.emit(Message::Columns(std::mem::take(&mut batch)));
                local.clear();
                bytes = 0;
            }
            if batch.sensor_value.is_empty() {
                batch.base_timestamp_us = time;
            }
            let index = *local.entry(number).or_insert_with(|| {
                bytes += announced_bytes;
                self.tagged.extend(tags.is_some().then_some(number));
                announce(&mut batch, series, tags)
            });
            bytes += COLUMNS_READING_BYTES;
            batch.series_index.push(index);
            batch.sensor_value.push(readings.values[i]);
            batch
                .timestamp_delta_us
                .push(time - batch.base_timestamp_us);
        }
        self.emit(Message::Columns(batch));
    }
}

/// What a series takes that a message brings, with what is said of it.
fn announced_bytes(series: &Series, tags: Option<&SeriesTags>) -> usize {
    let tags_bytes = tags.map_or(0, |tags| tags.encoded_len() + PLACE_BYTES + EMBEDDED_BYTES);
    series.encoded_len() + EMBEDDED_BYTES + tags_bytes
}

/// Puts a series into a message's dictionary, with what is said of it, and returns its place there.
fn announce(batch: &mut ColumnBatch, series: &Series, tags: Option<SeriesTags>) -> u32 {
    let place = batch.series.len() as u32;
    batch.series.push(series.clone());
    batch.series_tags.extend(tags.map(|tags| SeriesTags {
        series_index: place,
        ..tags
    }));
    place
}

fn rows_message(readings: Vec<SensorReading>) -> Message {
    Message::Rows(SensorBatch {
        readings,
        position: None,
    })
}

fn lookup(table: &SeriesTable, index: u32) -> &Series {
    // `push` refuses handles that the table does not hold.
    table.get(index).expect("a reading has a registered series")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tags::Tags, *};

    type Reading = (Series, f64, i64);

    /// Reads the messages as the service does.
    fn decode(encoder: &mut Encoder, limit: Option<usize>) -> Vec<Reading> {
        decode_with_tags(encoder, limit).0
    }

    /// With what was said of series, in order.
    fn decode_with_tags(
        encoder: &mut Encoder,
        limit: Option<usize>,
    ) -> (Vec<Reading>, Vec<(Series, Tags)>) {
        let mut told = Vec::new();
        let mut dictionary: Vec<Series> = Vec::new();
        let mut decoded = Vec::new();
        while let Some(message) = encoder.next_message() {
            if let Some(limit) = limit {
                assert!(message.encoded_len() <= limit, "{}", message.encoded_len());
            }
            match message.message.expect("a message") {
                Message::Header(_) => panic!("the encoder makes no header"),
                Message::Rows(batch) => {
                    decoded.extend(batch.readings.into_iter().map(|reading| {
                        let (value, at) = (reading.sensor_value(), reading.timestamp_us());
                        let series = Series {
                            id1: reading.id1,
                            id2: reading.id2,
                            sensor_type: reading.sensor_type,
                        };
                        (series, value, at)
                    }));
                }
                Message::Columns(batch) => {
                    if !batch.extend_dictionary {
                        dictionary.clear();
                    }
                    for tags in batch.series_tags {
                        let series = batch.series[tags.series_index as usize].clone();
                        told.push((series, tags.tags));
                    }
                    dictionary.extend(batch.series);
                    for i in 0..batch.sensor_value.len() {
                        decoded.push((
                            dictionary[batch.series_index[i] as usize].clone(),
                            batch.sensor_value[i],
                            batch.base_timestamp_us + batch.timestamp_delta_us[i],
                        ));
                    }
                }
            }
        }
        (decoded, told)
    }

    /// As many as 32 tags of a series, of which some are long.
    fn tags_of(index: u32) -> Tags {
        let tag = |number| (format!("tag{number}"), "v".repeat(1 + index as usize * 5));
        (0..index % 33).map(tag).collect()
    }

    proptest! {
        #[test]
        fn what_is_said_of_a_series_is_told_once_in_a_call(
            batches in prop::collection::vec(prop::collection::vec(0..40_u32, 1..60), 1..5),
            is_tagged in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut table = SeriesTable::default();
            for index in 0..40 {
                table.intern(index as i32, "x", "temperature");
                if is_tagged[index as usize] {
                    table.tag(index, tags_of(index));
                }
            }
            for dictionary in [Dictionary::PerCall, Dictionary::PerMessage] {
                // Room for the largest series, and not for a full batch of columns beside it.
                let limit = 5_800;
                let mut encoder = Encoder::new(dictionary, limit);
                let mut sent = Vec::new();
                for series in &batches {
                    let (values, times) = (vec![1.0; series.len()], vec![5; series.len()]);
                    let readings = Readings { series, values: &values, timestamps_us: &times };
                    encoder.encode(readings, &table);
                    sent.extend(series.iter().map(|&index| lookup(&table, index).clone()));
                }
                let (decoded, told) = decode_with_tags(&mut encoder, Some(limit + 64));
                let decoded: Vec<Series> = decoded.into_iter().map(|reading| reading.0).collect();
                prop_assert_eq!(&decoded, &sent);
                // Of a call's dictionary all that stand before the last one in use are told.
                let last = batches.iter().flatten().max().copied().unwrap_or_default();
                let mut expected: Vec<u32> = match dictionary {
                    Dictionary::PerCall => (0..=last).collect(),
                    _ => batches.iter().flatten().copied().collect(),
                };
                expected.sort_unstable();
                expected.dedup();
                expected.retain(|&index| is_tagged[index as usize]);
                let mut indexes: Vec<u32> = told.iter().map(|(series, _)| series.id1 as u32).collect();
                indexes.sort_unstable();
                prop_assert_eq!(indexes, expected);
                for (series, tags) in told {
                    prop_assert_eq!(tags, tags_of(series.id1 as u32));
                }
            }
        }
    }

    #[test]
    fn many_tags_leave_readings_their_room() {
        let mut table = SeriesTable::default();
        let index = table.intern(32, "x", "temperature");
        table.tag(index, tags_of(32));
        let (series, values, times) = ([index; 60], [1.0; 60], [5; 60]);
        for dictionary in [Dictionary::PerCall, Dictionary::PerMessage] {
            let limit = 5_800;
            let mut encoder = Encoder::new(dictionary, limit);
            let readings = Readings {
                series: &series,
                values: &values,
                timestamps_us: &times,
            };
            encoder.encode(readings, &table);
            let (decoded, told) = decode_with_tags(&mut encoder, Some(limit + 64));
            assert_eq!((decoded.len(), told.len()), (60, 1), "{dictionary:?}");
        }
    }

    fn time() -> impl Strategy<Value = i64> {
        prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), 0..1000_i64]
    }

    proptest! {
        #[test]
        fn every_form_says_what_was_pushed_in_messages_below_the_limit(
            batches in prop::collection::vec(
                prop::collection::vec((0..40_u32, -1e9..1e9_f64, time()), 1..100), 1..5),
        ) {
            let mut table = SeriesTable::default();
            for i in 0..40 {
                table.intern(i, &"x".repeat(i as usize), "temperature");
            }
            for dictionary in [Dictionary::Rows, Dictionary::PerCall, Dictionary::PerMessage] {
                // Room for a full batch of columns, so that only the dictionary or the rows need a cut.
                let limit = 100 * COLUMNS_READING_BYTES + 200;
                let mut encoder = Encoder::new(dictionary, limit);
                let mut expected = Vec::new();
                for batch in &batches {
                    let series: Vec<u32> = batch.iter().map(|reading| reading.0).collect();
                    let values: Vec<f64> = batch.iter().map(|reading| reading.1).collect();
                    let timestamps_us: Vec<i64> = batch.iter().map(|reading| reading.2).collect();
                    encoder.encode(
                        Readings { series: &series, values: &values, timestamps_us: &timestamps_us },
                        &table,
                    );
                    for reading in batch {
                        expected.push((lookup(&table, reading.0).clone(), reading.1, reading.2));
                    }
                }
                prop_assert_eq!(decode(&mut encoder, Some(limit + 64)), expected);
            }
        }
    }
}
