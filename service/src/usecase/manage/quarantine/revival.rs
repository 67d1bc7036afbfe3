//! What a reading in quarantine would be today: by the limits of the table as it is now, and by the mapping as it is now.

use std::sync::Arc;

use sluicegate_decode::{
    Context, Decoder, Limits as NameLimits, Line, Mapping, Position, Precision,
};

use super::KnownMappings;
use crate::model::{
    Fault, Field, KEPT_CHARS, KeptPayload, Limits, LongName, Quarantined, ReadBy, Reading,
    SentReading, Series,
};

/// The readings of a row of the quarantine, at least one.
#[derive(Debug)]
pub(super) struct Revival {
    pub(super) readings: Vec<Reading>,
    pub(super) long_names: Vec<LongName>,
}

/// How rows are looked at.
pub(super) struct Reviver<'a> {
    pub(super) mappings: &'a KnownMappings,
    /// By which payloads are read, instead of the one that they were read by.
    pub(super) named: Option<&'a Arc<Mapping>>,
    pub(super) limits: &'a Limits,
}

impl Reviver<'_> {
    /// # Errors
    /// Why it stays where it is, for people.
    pub(super) fn revive(&self, row: &Quarantined) -> Result<Revival, String> {
        match &row.payload {
            Some(payload) => self.decode(payload),
            None => self.reading(row),
        }
    }

    fn reading(&self, row: &Quarantined) -> Result<Revival, String> {
        let Quarantined {
            series,
            sensor_value,
            timestamp_us,
            ..
        } = row;
        for (text, field) in [
            (&series.id2, Field::Id2),
            (&series.sensor_type, Field::SensorType),
        ] {
            if text.chars().count() >= KEPT_CHARS {
                return Err(format!(
                    "of {} its beginning alone was kept, {KEPT_CHARS} characters",
                    field.as_str()
                ));
            }
        }
        let refused = |fault: Fault| fault.to_string();
        let Series {
            id2, sensor_type, ..
        } = series;
        if let Some(fault) = Fault::of_series(id2, sensor_type, self.limits) {
            return Err(refused(fault));
        }
        let sent = SentReading {
            series: series.clone(),
            // What was absent has no number either.
            sensor_value: sensor_value.parse().ok(),
            timestamp_us: (!is_absent(row, Field::TimestampUs)).then_some(*timestamp_us),
        };
        let measured = Fault::check_measurement(&sent, self.limits);
        let (sensor_value, timestamp_us) = measured.map_err(refused)?;
        Ok(Revival {
            readings: vec![Reading {
                series: sent.series,
                sensor_value,
                timestamp_us,
            }],
            long_names: Vec::new(),
        })
    }

    fn decode(&self, payload: &KeptPayload) -> Result<Revival, String> {
        let kept_bytes = payload.bytes.len() as u64;
        let position = payload.position.as_deref().and_then(Position::parse);
        let (Some(position), Some(whole_bytes)) = (position, payload.whole_bytes) else {
            return Err(
                "its beginning alone was kept, or not which part of a payload it was".to_owned(),
            );
        };
        if kept_bytes < whole_bytes {
            return Err(format!(
                "of its {whole_bytes} bytes the first {kept_bytes} alone were kept"
            ));
        }
        let context = payload.context.as_deref();
        let read_by: Option<ReadBy> = context.and_then(|text| serde_json::from_str(text).ok());
        let Some(read_by) = read_by else {
            return Err("its topic and its headers were too long to be kept".to_owned());
        };
        let mapping = match self.named {
            Some(mapping) => mapping,
            None => self.mapping_of(&read_by)?,
        };
        let names = NameLimits {
            sensor_type_chars: self.limits.sensor_type_max_chars,
            id2_chars: self.limits.id2_max_chars,
        };
        let headers: Vec<(&str, &str)> = (read_by.headers.iter())
            .map(|(name, text)| (&**name, &**text))
            .collect();
        let context = Context {
            topic: read_by.topic.as_deref(),
            headers: &headers,
            arrival_us: read_by.arrival_us,
            precision: (read_by.precision.as_deref()).and_then(Precision::of_parameter),
        };
        let mut decoder = Decoder::new(mapping.clone(), names);
        let mut message = decoder
            .message(&context)
            .map_err(|fault| fault.reason().to_string())?;
        let mut taking = Taking {
            limits: self.limits,
            record: match position {
                Position::Record(_) => Some(position),
                Position::Line(_) | Position::Message => None,
            },
            value: payload.value.as_deref(),
            revival: Revival {
                readings: Vec::new(),
                long_names: Vec::new(),
            },
            refused: None,
        };
        match position {
            Position::Line(number) => {
                let line = Line {
                    number,
                    bytes: &payload.bytes,
                    max_bytes: None,
                };
                message.line(line, |outcome| taking.take(outcome));
            }
            Position::Record(_) | Position::Message => {
                message.whole(&payload.bytes, |outcome| taking.take(outcome));
            }
        }
        taking.finish()
    }

    fn mapping_of(&self, read_by: &ReadBy) -> Result<&Arc<Mapping>, String> {
        let ReadBy {
            source, mapping, ..
        } = read_by;
        match (source, mapping) {
            (Some(source), _) => self.mappings.sources.get(source).ok_or_else(|| {
                format!("this instance has no source {source} with a mapping: name a mapping")
            }),
            (None, Some(name)) => self.mappings.requests.get(name).ok_or_else(|| {
                format!("this instance has no mapping {name} (rest.mappings): name another one")
            }),
            (None, None) => {
                Err("the first line of its request named the columns: name a mapping".to_owned())
            }
        }
    }
}

/// Whether a field was not sent. The column says 0 then, which may have been sent as well.
fn is_absent(row: &Quarantined, field: Field) -> bool {
    row.field == field.as_str() && row.reason == Fault::Absent(field).to_string()
}

/// Takes what comes out of a payload, as far as it is meant.
struct Taking<'a> {
    limits: &'a Limits,
    /// One record of all of the payload.
    record: Option<Position>,
    /// One value of all of its record.
    value: Option<&'a str>,
    revival: Revival,
    /// The first reason why it is not taken.
    refused: Option<String>,
}

impl Taking<'_> {
    fn take(&mut self, outcome: Result<sluicegate_decode::Reading<'_>, sluicegate_decode::Fault>) {
        let (position, value) = match &outcome {
            Ok(reading) => (reading.position, reading.value),
            Err(fault) => (fault.position, fault.value.as_deref()),
        };
        let is_of_record = self.record.is_none_or(|record| record == position);
        // What is wrong with a whole record is wrong with each of its values.
        let is_of_value = match (self.value, value) {
            (Some(meant), Some(found)) => meant == found,
            (Some(_), None) => outcome.is_err(),
            (None, _) => true,
        };
        if !(is_of_record && is_of_value) {
            return;
        }
        let taken = match &outcome {
            Ok(reading) => self.check(reading),
            Err(fault) => Err(fault.reason().to_string()),
        };
        if let Err(reason) = taken {
            self.refused.get_or_insert(reason);
        }
    }

    fn check(&mut self, reading: &sluicegate_decode::Reading<'_>) -> Result<(), String> {
        let sluicegate_decode::Reading {
            sensor_value,
            sensor_type,
            id1,
            id2,
            timestamp_us,
            ..
        } = *reading;
        let fault = Fault::of_series(id2.text, sensor_type.text, self.limits)
            .or_else(|| Fault::of_measurement(sensor_value, timestamp_us, self.limits));
        if let Some(fault) = fault {
            return Err(fault.to_string());
        }
        for name in [id2, sensor_type] {
            let full = name.full.map(|full| LongName::of(name.text, full));
            self.revival.long_names.extend(full);
        }
        self.revival.readings.push(Reading {
            series: Series {
                id1,
                id2: id2.text.to_owned(),
                sensor_type: sensor_type.text.to_owned(),
            },
            sensor_value,
            timestamp_us,
        });
        Ok(())
    }

    fn finish(self) -> Result<Revival, String> {
        match self.refused {
            Some(reason) => Err(reason),
            None if self.revival.readings.is_empty() => {
                Err("the mapping makes no reading of it".to_owned())
            }
            None => Ok(self.revival),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AbsentValue, Seq};

    fn row() -> Quarantined {
        Quarantined {
            id: 7,
            stream_id: None,
            seq: Seq(1),
            field: "sensor_value".to_owned(),
            reason: String::new(),
            sensor_value: "1.5".to_owned(),
            series: Series {
                id1: 4,
                id2: "A".to_owned(),
                sensor_type: "t".to_owned(),
            },
            timestamp_us: 9,
            rejected_us: 10,
            origin: None,
            payload: None,
        }
    }

    fn payload(bytes: &[u8], position: Position, read_by: &ReadBy) -> KeptPayload {
        KeptPayload {
            bytes: bytes.to_vec(),
            whole_bytes: Some(bytes.len() as u64),
            position: Some(position.to_string()),
            value: None,
            context: serde_json::to_string(read_by).ok(),
        }
    }

    fn influx() -> ReadBy {
        ReadBy {
            mapping: Some("influx".to_owned()),
            arrival_us: 5,
            ..ReadBy::default()
        }
    }

    fn revive(row: &Quarantined, limits: &Limits) -> Result<Vec<f64>, String> {
        let mappings = KnownMappings::default().with_own().unwrap();
        let reviver = Reviver {
            mappings: &mappings,
            named: None,
            limits,
        };
        let revival = reviver.revive(row)?;
        Ok(revival.readings.iter().map(|it| it.sensor_value).collect())
    }

    fn of_payload(payload: KeptPayload) -> Result<Vec<f64>, String> {
        let row = Quarantined {
            payload: Some(payload),
            ..row()
        };
        revive(&row, &Limits::default())
    }

    #[test]
    fn a_reading_is_held_against_the_table_as_it_is_now() {
        let limits = Limits::default();
        assert_eq!(revive(&row(), &limits), Ok(vec![1.5]));
        let mut long = row();
        long.series.id2 = "é".repeat(60);
        assert!(
            revive(&long, &limits)
                .unwrap_err()
                .contains("50 characters")
        );
        let wide = Limits {
            id2_max_chars: 60,
            ..limits
        };
        assert_eq!(revive(&long, &wide), Ok(vec![1.5]));
        long.series.id2 = "é".repeat(KEPT_CHARS);
        let widest = Limits {
            id2_max_chars: 1_000,
            ..limits
        };
        let reason = revive(&long, &widest).unwrap_err();
        assert_eq!(
            reason,
            "of id2 its beginning alone was kept, 255 characters"
        );
        let mut nan = row();
        nan.sensor_value = "NaN".to_owned();
        assert!(revive(&nan, &limits).unwrap_err().contains("finite"));
    }

    #[test]
    fn what_was_absent_is_still_absent_unless_that_is_let_in_now() {
        let zero = Limits {
            absent_value: AbsentValue::Zero,
            ..Limits::default()
        };
        let mut absent = row();
        absent.sensor_value = "absent".to_owned();
        assert!(
            revive(&absent, &Limits::default())
                .unwrap_err()
                .contains("sensor_value is absent")
        );
        assert_eq!(revive(&absent, &zero), Ok(vec![0.0]));
        let mut absent = row();
        absent.timestamp_us = 0;
        assert_eq!(revive(&absent, &Limits::default()), Ok(vec![1.5]));
        absent.field = "timestamp_us".to_owned();
        absent.reason = Fault::Absent(Field::TimestampUs).to_string();
        assert!(
            revive(&absent, &Limits::default())
                .unwrap_err()
                .contains("timestamp_us is absent")
        );
    }

    #[test]
    fn a_line_is_read_by_the_mapping_of_its_request() {
        let line = |text: &str| payload(text.as_bytes(), Position::Line(4), &influx());
        assert_eq!(of_payload(line("m a=1,b=2 1000")), Ok(vec![1.0, 2.0]));
        assert!(
            of_payload(line("m a=hot 1000"))
                .unwrap_err()
                .contains("hot")
        );
        assert!(
            of_payload(line("# nothing"))
                .unwrap_err()
                .contains("no reading")
        );
        let table = ReadBy::default();
        let refused = of_payload(payload(b"1,2", Position::Line(4), &table));
        assert!(refused.unwrap_err().contains("named the columns"));
        let gone = ReadBy {
            source: Some("plant".to_owned()),
            ..ReadBy::default()
        };
        let refused = of_payload(payload(b"1,2", Position::Line(4), &gone));
        assert!(refused.unwrap_err().contains("no source plant"));
    }

    #[test]
    fn one_value_of_a_record_and_one_record_of_a_message_come_alone() {
        let mut one = payload(b"m a=1,b=2 1000", Position::Line(1), &influx());
        one.value = Some("b".to_owned());
        assert_eq!(of_payload(one), Ok(vec![2.0]));
        let read_by = ReadBy {
            mapping: Some("json".to_owned()),
            ..ReadBy::default()
        };
        let reading = |value: u32| {
            format!(
                r#"{{"sensor_value":{value},"sensor_type":"t","id1":1,"id2":"a","timestamp":"2026-01-01T00:00:00Z"}}"#
            )
        };
        let all = format!("[{},{}]", reading(1), reading(2));
        let second = payload(all.as_bytes(), Position::Record(2), &read_by);
        assert_eq!(of_payload(second), Ok(vec![2.0]));
        let alone = payload(reading(3).as_bytes(), Position::Message, &read_by);
        assert_eq!(of_payload(alone), Ok(vec![3.0]));
    }

    #[test]
    fn what_was_not_kept_whole_stays() {
        let mut cut = payload(b"m a=1", Position::Line(1), &influx());
        cut.whole_bytes = Some(9_000);
        let reason = of_payload(cut).unwrap_err();
        assert_eq!(reason, "of its 9000 bytes the first 5 alone were kept");
        let mut old = payload(b"m a=1", Position::Line(1), &influx());
        old.position = None;
        assert!(of_payload(old).unwrap_err().contains("beginning alone"));
        let mut long = payload(b"m a=1", Position::Line(1), &influx());
        long.context = None;
        assert!(of_payload(long).unwrap_err().contains("too long"));
    }
}
