//! A batch is open, sealed or committed, and each is a type of its own: only a committed one can acknowledge (P1).

mod committed;
mod dividing;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub(super) use self::committed::CommittedBatch;
use super::{
    admission::Room,
    columns::{ColumnReadings, Columns, ROW_BYTES, Readings},
    dictionary::Dictionary,
    events::BatchEvent,
    pace::cost_rows,
    seal::Order,
    session::Waiting,
};
use crate::{
    ledger::{LoadPart, PartOutcome},
    model::{
        Fault, KeptSeries, Limits, Rejection, SentReading, Seq, Series, SourceMark, SourcePosition,
        StreamId,
    },
    repository::{LoadBatch, LoadColumns, Noted, SeriesEra, StoredRows, Untold},
};

/// A message on its way into a batch.
pub(super) struct Arrived {
    pub(super) first_seq: Seq,
    pub(super) readings: Readings,
    pub(super) source_position: Option<SourcePosition>,
    pub(super) room: Room,
}

/// Takes readings until it is sealed.
#[derive(Default)]
pub(super) struct OpenBatch {
    columns: Columns,
    parts: Vec<LoadPart>,
    /// Of each part.
    waiting: Vec<Waiting>,
    /// The named ones among the parts' streams.
    streams: HashSet<StreamId>,
    rejections: Vec<Rejection>,
    /// Of the parts' marks.
    position_bytes: usize,
    /// Memory of the rejections' texts, most of which share them.
    rejected_text_bytes: usize,
    rooms: Vec<Room>,
    order: Order,
}

impl OpenBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn readings(&self) -> usize {
        self.columns.rows() as usize + self.rejections.len()
    }

    /// What it costs the database, in rows.
    pub(super) fn cost_rows(&self) -> usize {
        cost_rows(self.columns.rows() as usize, self.rejections.len())
    }

    /// How many messages it has readings of, or parts of messages.
    pub(super) fn messages(&self) -> usize {
        self.parts.len()
    }

    /// How many named streams it has readings of.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What its parts say of their producers' sources.
    pub(super) fn position_bytes(&self) -> usize {
        self.position_bytes
    }

    /// Memory that does not follow from the count of its rows, bytes: the series' texts, the rejections and the positions.
    pub(super) fn beside_bytes(&self) -> usize {
        self.columns.batch_series.size_bytes() + self.rejection_bytes() + self.position_bytes
    }

    fn rejection_bytes(&self) -> usize {
        self.rejections.len() * size_of::<Rejection>() + self.rejected_text_bytes
    }

    /// Checks the readings and takes those that are good; each bad one becomes a rejection, and no other is hurt (P5).
    pub(super) fn append(
        &mut self,
        waiting: &Waiting,
        message: Arrived,
        dictionary: &mut Dictionary,
        limits: &Limits,
    ) {
        let Arrived {
            first_seq,
            readings,
            source_position,
            mut room,
        } = message;
        let count = readings.len() as u64;
        let (rows_before, rejections_before) = (self.columns.rows(), self.rejections.len());
        let beside_bytes_before = self.beside_bytes();
        self.check(first_seq, readings, dictionary, limits);
        let mark = source_position.map(|position| SourceMark {
            seq: first_seq.plus(count).before(),
            position,
        });
        let part = LoadPart {
            stream: waiting.session.stream(),
            principal: waiting.session.principal().cloned(),
            first_seq,
            readings: count,
            rows: rows_before..self.columns.rows(),
            rejections: rejections_before..self.rejections.len(),
            messages: 1,
            marks: mark.into_iter().collect(),
        };
        self.position_bytes += position_bytes(&part);
        // Until now it stood for the message as well, and for every reading as if it were bad.
        let rows = (self.columns.rows() - rows_before) as usize;
        let beside_bytes = self.beside_bytes().saturating_sub(beside_bytes_before);
        room.resize(rows * ROW_BYTES + beside_bytes);
        self.add_part(waiting, part);
        self.rooms.push(room);
    }

    /// Takes the good ones, and notes the bad ones.
    pub(super) fn check(
        &mut self,
        first_seq: Seq,
        readings: Readings,
        dictionary: &mut Dictionary,
        limits: &Limits,
    ) {
        match readings {
            Readings::Rows(rows) => self.append_rows(first_seq, rows, limits),
            Readings::Columns(columns) => {
                self.append_columns(first_seq, &columns, dictionary, limits);
            }
        }
    }

    fn append_rows(&mut self, first_seq: Seq, rows: Vec<SentReading>, limits: &Limits) {
        self.columns.reserve(rows.len());
        for (offset, sent) in rows.into_iter().enumerate() {
            let series = &sent.series;
            let checked = match Fault::of_series(&series.id2, &series.sensor_type, limits) {
                None => Fault::check_measurement(&sent, limits),
                Some(fault) => Err(fault),
            };
            match checked {
                Ok((sensor_value, timestamp_us)) => {
                    let names = (series.id1, series.id2.as_str(), series.sensor_type.as_str());
                    let index = self.columns.batch_series.intern(names);
                    self.columns.push(index, sensor_value, timestamp_us);
                }
                Err(fault) => {
                    let rejection = Rejection {
                        seq: first_seq.plus(offset as u64),
                        fault,
                        series: self.kept(series),
                        sensor_value: sent.sensor_value.unwrap_or_default(),
                        timestamp_us: sent.timestamp_us.unwrap_or_default(),
                    };
                    self.rejections.push(rejection);
                }
            }
        }
    }

    /// The series of a row that is rejected. Bad rows often are of the series of the one before, and share it (P4).
    #[cold]
    fn kept(&mut self, series: &Series) -> KeptSeries {
        let kept = KeptSeries::of(series.id1, &series.id2, &series.sensor_type);
        match self.rejections.last() {
            Some(last) if last.series == kept => last.series.clone(),
            _ => {
                self.rejected_text_bytes += kept.size_bytes();
                kept
            }
        }
    }

    fn append_columns(
        &mut self,
        first_seq: Seq,
        readings: &ColumnReadings,
        dictionary: &mut Dictionary,
        limits: &Limits,
    ) {
        self.columns.reserve(readings.series_index.len());
        // One for each series, however many readings of it are rejected (P4).
        let mut kept = HashMap::new();
        let rows = readings
            .series_index
            .iter()
            .zip(&readings.sensor_value)
            .zip(&readings.timestamp_delta_us);
        for (offset, ((&index, &sensor_value), &delta_us)) in rows.enumerate() {
            // An overflow lies outside of every table's range and is rejected as such.
            let timestamp_us = readings.base_timestamp_us.saturating_add(delta_us);
            let slot = dictionary.resolve(index, &mut self.columns.batch_series, limits);
            match (
                slot,
                Fault::of_measurement(sensor_value, timestamp_us, limits),
            ) {
                (Some(slot), None) => self.columns.push(slot, sensor_value, timestamp_us),
                (_, fault) => {
                    let (fault, series) = match readings.undecoded_at(offset) {
                        None => explain(index, fault, dictionary, limits, &mut kept),
                        Some(undecoded) => {
                            self.rejected_text_bytes += undecoded.size_bytes();
                            (Fault::Undecodable(undecoded.clone()), unknown(&mut kept))
                        }
                    };
                    self.rejections.push(Rejection {
                        seq: first_seq.plus(offset as u64),
                        fault,
                        series,
                        sensor_value,
                        timestamp_us,
                    });
                }
            }
        }
        self.rejected_text_bytes += kept.values().map(KeptSeries::size_bytes).sum::<usize>();
    }

    /// Messages of one call that follow each other are one part: the ledger is touched once for all of them.
    fn add_part(&mut self, waiting: &Waiting, part: LoadPart) {
        if let (Some(last), Some(owner)) = (self.parts.last_mut(), self.waiting.last())
            && Arc::ptr_eq(&owner.session, &waiting.session)
            && last.first_seq.plus(last.readings) == part.first_seq
        {
            last.readings += part.readings;
            last.rows.end = part.rows.end;
            last.rejections.end = part.rejections.end;
            last.messages += part.messages;
            last.marks.extend(part.marks);
            return;
        }
        if let Some((stream, _)) = &part.stream
            && !self.streams.contains(stream)
        {
            self.streams.insert(stream.clone());
        }
        self.parts.push(part);
        self.waiting.push(waiting.clone());
    }

    /// What others may know of it, once it is in order.
    fn event(&self) -> BatchEvent {
        let arrivals = self.order.arrivals();
        BatchEvent::of(self.columns.rows(), |position| {
            let arrival = arrivals.get(position as usize).copied().unwrap_or(position);
            self.columns.timestamp_us[arrival as usize]
        })
    }

    /// Puts the rows into the order of the primary key and closes the batch.
    pub(super) fn seal(mut self, number: Seq, by_time: bool) -> SealedBatch {
        if by_time {
            self.order.by_time(&self.columns.timestamp_us);
        } else {
            self.order.as_arrived();
        }
        SealedBatch {
            number,
            content: self,
        }
    }
}

/// What the part's marks take in memory, bytes.
fn position_bytes(part: &LoadPart) -> usize {
    let bytes = |mark: &SourceMark| size_of::<SourceMark>() + mark.position.as_bytes().len();
    part.marks.iter().map(bytes).sum()
}

/// Why a reading of a dictionary's series is rejected, and the series as it is kept. `kept` holds those of the message.
#[cold]
fn explain(
    index: u32,
    measurement: Option<Fault>,
    dictionary: &Dictionary,
    limits: &Limits,
    kept: &mut HashMap<Option<u32>, KeptSeries>,
) -> (Fault, KeptSeries) {
    let fault = Fault::UnknownSeries {
        index,
        series: dictionary.len() as u32,
    };
    let Some((id1, id2, sensor_type)) = dictionary.parts(index) else {
        return (fault, unknown(kept));
    };
    let series = kept
        .entry(Some(index))
        .or_insert_with(|| KeptSeries::of(id1, id2, sensor_type));
    let fault = Fault::of_series(id2, sensor_type, limits)
        .or(measurement)
        .unwrap_or(fault);
    (fault, series.clone())
}

fn unknown(kept: &mut HashMap<Option<u32>, KeptSeries>) -> KeptSeries {
    let series = kept.entry(None).or_insert_with(KeptSeries::unknown);
    series.clone()
}

/// In order and complete; may be loaded any number of times.
pub(super) struct SealedBatch {
    number: Seq,
    content: OpenBatch,
}

impl SealedBatch {
    /// Opens it again, to be divided.
    pub(super) fn unseal(self) -> OpenBatch {
        self.content
    }

    pub(super) fn readings(&self) -> usize {
        self.content.readings()
    }

    /// What others may know of it.
    pub(super) fn event(&self) -> BatchEvent {
        self.content.event()
    }

    /// Turns into a committed batch, which needs to know what became of each part.
    pub(super) fn commit(
        self,
        outcomes: Vec<PartOutcome>,
        series: Arc<Vec<u32>>,
        (stored, untold, noted): (Option<StoredRows>, Untold, Option<Noted>),
    ) -> CommittedBatch {
        CommittedBatch {
            content: self.content,
            outcomes,
            series,
            stored,
            untold,
            noted,
        }
    }
}

impl LoadBatch for SealedBatch {
    fn number(&self) -> Seq {
        self.number
    }

    fn rows(&self) -> u32 {
        self.content.columns.rows()
    }

    fn parts(&self) -> &[LoadPart] {
        &self.content.parts
    }

    fn rejections(&self) -> &[Rejection] {
        &self.content.rejections
    }

    fn columns(&self) -> LoadColumns<'_> {
        let columns = &self.content.columns;
        LoadColumns {
            series: &columns.series,
            sensor_value: &columns.sensor_value,
            timestamp_us: &columns.timestamp_us,
            order: self.content.order.arrivals(),
        }
    }

    fn series_count(&self) -> u32 {
        self.content.columns.batch_series.len()
    }

    fn known_numbers(&self, era: SeriesEra) -> Option<&[u32]> {
        self.content.columns.batch_series.numbers(era)
    }

    fn series(&self, index: u32) -> (i32, &str, &str) {
        self.content.columns.batch_series.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_of_one_series_in_a_row_share_it() {
        let row = |id2: &str| SentReading {
            series: Series {
                id1: 1,
                id2: id2.to_owned(),
                sensor_type: "t".to_owned(),
            },
            sensor_value: Some(1.0),
            timestamp_us: Some(0),
        };
        let mut batch = OpenBatch::default();
        let rows = [" a", " a", " b", " a", "good"].map(row).to_vec();
        batch.append_rows(Seq(1), rows, &Limits::default());
        assert_eq!(batch.columns.rows(), 1);
        let series: Vec<&str> = batch
            .rejections
            .iter()
            .map(|each| each.series.id2.as_str())
            .collect();
        assert_eq!(series, [" a", " a", " b", " a"]);
        let one = batch.rejections[0].series.size_bytes();
        assert_eq!(batch.rejected_text_bytes, 3 * one);
    }
}
