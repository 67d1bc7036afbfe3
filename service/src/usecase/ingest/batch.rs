//! A batch is open, sealed or committed, and each is a type of its own: only a committed one can acknowledge (P1).

use std::{ops::Range, sync::Arc};

use super::{
    admission::Permit,
    columns::{ColumnReadings, Columns, Readings},
    dictionary::Dictionary,
    seal::Order,
    session::Session,
    tsv::TimestampWriter,
};
use crate::{
    model::{Fault, Limits, Reading, Rejection, Seq},
    repository::{DroppedRows, LoadBatch, LoadPart, PartOutcome, RowFormat},
};

/// Takes readings until it is sealed.
#[derive(Default)]
pub(super) struct OpenBatch {
    columns: Columns,
    parts: Vec<LoadPart>,
    sessions: Vec<Arc<Session>>,
    rejections: Vec<Rejection>,
    permits: Vec<Permit>,
    order: Order,
}

impl OpenBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn readings(&self) -> usize {
        self.columns.rows() as usize + self.rejections.len()
    }

    /// Memory of the series' texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.columns.texts.size_bytes()
    }

    /// Checks the readings and takes those that are good; each bad one becomes a rejection, and no other is hurt (P5).
    pub(super) fn append(
        &mut self,
        session: &Arc<Session>,
        first_seq: Seq,
        readings: Readings,
        dictionary: &mut Dictionary,
        limits: &Limits,
        permit: Permit,
    ) {
        let count = readings.len() as u64;
        let (rows_before, rejections_before) = (self.columns.rows(), self.rejections.len());
        match readings {
            Readings::Rows(rows) => self.append_rows(first_seq, rows, limits),
            Readings::Columns(columns) => {
                self.append_columns(first_seq, &columns, dictionary, limits);
            }
        }
        let part = LoadPart {
            stream: session.stream(),
            first_seq,
            readings: count,
            rows: rows_before..self.columns.rows(),
            rejections: rejections_before..self.rejections.len(),
        };
        self.add_part(session, part);
        self.permits.push(permit);
    }

    fn append_rows(&mut self, first_seq: Seq, rows: Vec<Reading>, limits: &Limits) {
        self.columns.reserve(rows.len());
        for (offset, reading) in rows.into_iter().enumerate() {
            let Reading {
                series,
                sensor_value,
                timestamp_us,
            } = &reading;
            let fault = Fault::of_series(&series.id2, &series.sensor_type, limits)
                .or_else(|| Fault::of_measurement(*sensor_value, *timestamp_us, limits));
            if let Some(fault) = fault {
                let seq = first_seq.plus(offset as u64);
                self.rejections.push(Rejection {
                    seq,
                    fault,
                    reading,
                });
                continue;
            }
            let index = self
                .columns
                .texts
                .intern(series.id1, &series.id2, &series.sensor_type);
            self.columns.push(index, *sensor_value, *timestamp_us);
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
        let rows = readings
            .series_index
            .iter()
            .zip(&readings.sensor_value)
            .zip(&readings.timestamp_delta_us);
        for (offset, ((&index, &sensor_value), &delta_us)) in rows.enumerate() {
            // An overflow lies outside of every table's range and is rejected as such.
            let timestamp_us = readings.base_timestamp_us.saturating_add(delta_us);
            let slot = dictionary.resolve(index, &mut self.columns.texts, limits);
            match (
                slot,
                Fault::of_measurement(sensor_value, timestamp_us, limits),
            ) {
                (Some(slot), None) => self.columns.push(slot, sensor_value, timestamp_us),
                (_, fault) => {
                    let seq = first_seq.plus(offset as u64);
                    let rejection = reject(
                        seq,
                        index,
                        sensor_value,
                        timestamp_us,
                        fault,
                        dictionary,
                        limits,
                    );
                    self.rejections.push(rejection);
                }
            }
        }
    }

    /// Messages of one call that follow each other are one part: the ledger is touched once for all of them.
    fn add_part(&mut self, session: &Arc<Session>, part: LoadPart) {
        if let (Some(last), Some(owner)) = (self.parts.last_mut(), self.sessions.last())
            && Arc::ptr_eq(owner, session)
            && last.first_seq.plus(last.readings) == part.first_seq
        {
            last.readings += part.readings;
            last.rows.end = part.rows.end;
            last.rejections.end = part.rejections.end;
            return;
        }
        self.parts.push(part);
        self.sessions.push(session.clone());
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

#[cold]
fn reject(
    seq: Seq,
    index: u32,
    sensor_value: f64,
    timestamp_us: i64,
    measurement: Option<Fault>,
    dictionary: &Dictionary,
    limits: &Limits,
) -> Rejection {
    let Some(series) = dictionary.series(index) else {
        let fault = Fault::UnknownSeries {
            index,
            series: dictionary.len() as u32,
        };
        return Rejection::without_series(seq, fault, sensor_value, timestamp_us);
    };
    let fault = Fault::of_series(&series.id2, &series.sensor_type, limits)
        .or(measurement)
        .unwrap_or(Fault::UnknownSeries {
            index,
            series: dictionary.len() as u32,
        });
    Rejection {
        seq,
        fault,
        reading: Reading {
            series,
            sensor_value,
            timestamp_us,
        },
    }
}

/// In order and complete; may be loaded any number of times.
pub(super) struct SealedBatch {
    number: Seq,
    content: OpenBatch,
}

impl SealedBatch {
    /// Timestamp in the middle of the batch, where most of its readings are; None when all of them were rejected.
    pub(super) fn middle_us(&self) -> Option<i64> {
        let timestamps = &self.content.columns.timestamp_us;
        let middle = self.content.order.arrival(timestamps.len() as u32 / 2);
        timestamps.get(middle as usize).copied()
    }

    /// Turns into a committed batch, which needs to know what became of each part.
    pub(super) fn commit(self, outcomes: Vec<PartOutcome>) -> CommittedBatch {
        CommittedBatch {
            content: self.content,
            outcomes,
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

    fn encode(
        &self,
        positions: Range<u32>,
        dropped: &DroppedRows,
        format: RowFormat,
        first_id: u64,
        chunk_bytes: usize,
        out: &mut Vec<u8>,
    ) -> (u32, u32) {
        let columns = &self.content.columns;
        let mut timestamps = TimestampWriter::new(format.timestamp_decimals);
        let (mut id_text, mut value_text) = (itoa::Buffer::new(), zmij::Buffer::new());
        let mut appended = 0;
        for position in positions.clone() {
            if out.len() >= chunk_bytes {
                return (position, appended);
            }
            let arrival = self.content.order.arrival(position);
            if is_dropped(dropped, arrival) {
                continue;
            }
            let row = arrival as usize;
            if format.with_id {
                out.extend_from_slice(id_text.format(first_id + u64::from(position)).as_bytes());
                out.push(b'\t');
            }
            out.extend_from_slice(columns.texts.get(columns.series[row]));
            out.push(b'\t');
            let value = columns.sensor_value[row];
            // Only finite values were taken.
            out.extend_from_slice(value_text.format_finite(value).as_bytes());
            out.push(b'\t');
            timestamps.write(columns.timestamp_us[row], out);
            out.push(b'\n');
            appended += 1;
        }
        (positions.end, appended)
    }

    fn row(&self, position: u32) -> (u32, Reading) {
        let arrival = self.content.order.arrival(position);
        let (columns, row) = (&self.content.columns, arrival as usize);
        let reading = Reading {
            series: columns.texts.series(columns.series[row]),
            sensor_value: columns.sensor_value[row],
            timestamp_us: columns.timestamp_us[row],
        };
        (arrival, reading)
    }
}

fn is_dropped(dropped: &DroppedRows, arrival: u32) -> bool {
    if dropped.is_empty() {
        return false;
    }
    let after = dropped.partition_point(|range| range.start <= arrival);
    after > 0 && dropped[after - 1].contains(&arrival)
}

/// Durable: may acknowledge.
pub(super) struct CommittedBatch {
    content: OpenBatch,
    outcomes: Vec<PartOutcome>,
}

impl CommittedBatch {
    /// Tells each call what became of its readings, gives their memory back, and returns the emptied buffers.
    pub(super) fn acknowledge(mut self) -> OpenBatch {
        let content = &mut self.content;
        for ((part, session), outcome) in content
            .parts
            .drain(..)
            .zip(content.sessions.drain(..))
            .zip(self.outcomes)
        {
            session.settle(&part, &content.rejections[part.rejections.clone()], outcome);
        }
        content.rejections.clear();
        content.permits.clear();
        content.columns.clear();
        self.content
    }
}
