//! A broker with readings in it. The benchmark measures how fast Sluicegate fetches them.
//!
//! `fed_broker kafka|rabbitmq FILE...` starts a private broker, sends the readings of each file written by `sluicegen export`
//! to it, as messages `ColumnBatch` of 1,000 readings, prints where it is, and ends with its standard input. Each file
//! has a partition of its own.

#[path = "faults/common.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod common;

use std::{
    collections::HashMap,
    error::Error,
    io::{BufRead as _, BufReader, Read as _},
};

use chrono::NaiveDateTime;
use prost::Message as _;
use sluicegate_proto::v1::{ColumnBatch, Series};

use crate::common::brokers::{
    kafka::{self, Kafka},
    rabbitmq::{self, RabbitMq},
    senders::{KafkaSender, RabbitMqSender},
};

const READINGS: usize = 1_000;
/// So many messages are sent at once.
const MESSAGES: usize = 200;
const NAME: &str = "readings";
const DEMANDED: &str =
    "SLUICEGATE_TEST_KAFKA=required and SLUICEGATE_TEST_RABBITMQ=required have to be set";

type AnyError = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((kind, files)) = arguments.split_first() else {
        return Err("usage: fed_broker kafka|rabbitmq FILE...".into());
    };
    match kind.as_str() {
        "kafka" => {
            let kafka = Kafka::start(kafka::Options::default())
                .await
                .ok_or(DEMANDED)?;
            kafka.create_topic(NAME, files.len() as u32, &[]).await;
            let sender = KafkaSender::to(&kafka.servers());
            for (partition, file) in files.iter().enumerate() {
                let mut messages = Messages::of(file)?;
                while let Some(some) = messages.next()? {
                    sender.send(NAME, partition as i32, some).await;
                }
            }
            stand(&format!(
                "kafka: {{brokers: ['{}'], topics: [{NAME}]}}",
                kafka.servers()
            ))
        }
        "rabbitmq" => {
            let broker = RabbitMq::start(rabbitmq::Options::default())
                .await
                .ok_or(DEMANDED)?;
            let sender = RabbitMqSender::to(&broker.url()).await;
            for (number, file) in files.iter().enumerate() {
                let stream = format!("{NAME}-{number}");
                sender.declare(&stream, "stream", &[]).await;
                let mut messages = Messages::of(file)?;
                while let Some(some) = messages.next()? {
                    sender.send(&stream, some).await;
                }
            }
            stand(&format!(
                "rabbitmq: {{brokers: ['127.0.0.1:{}'], stream: {NAME}-}}",
                broker.port()
            ))
        }
        other => Err(format!("{other} is neither kafka nor rabbitmq").into()),
    }
}

/// Says what the settings of a source are, and stays.
fn stand(settings: &str) -> Result<(), AnyError> {
    println!("{settings}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The readings of a file, some messages at a time.
struct Messages {
    lines: std::io::Lines<BufReader<std::fs::File>>,
}

impl Messages {
    fn of(file: &str) -> Result<Self, AnyError> {
        let lines = BufReader::new(std::fs::File::open(file)?).lines();
        Ok(Self { lines })
    }

    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, AnyError> {
        let mut messages = Vec::new();
        while messages.len() < MESSAGES
            && let Some(message) = self.message()?
        {
            messages.push(message);
        }
        Ok((!messages.is_empty()).then_some(messages))
    }

    fn message(&mut self) -> Result<Option<Vec<u8>>, AnyError> {
        let mut batch = ColumnBatch::default();
        let mut known = HashMap::new();
        for line in self.lines.by_ref().take(READINGS) {
            let line = line?;
            let fields: Vec<&str> = line.split('\t').collect();
            let [_, id1, id2, sensor_type, value, at] = fields.as_slice() else {
                return Err(format!("{line:?} has not six fields").into());
            };
            let series = Series {
                id1: id1.parse()?,
                id2: (*id2).to_owned(),
                sensor_type: (*sensor_type).to_owned(),
            };
            let next = batch.series.len() as u32;
            let index = *known
                .entry((series.id1, series.id2.clone(), series.sensor_type.clone()))
                .or_insert_with(|| {
                    batch.series.push(series);
                    next
                });
            let at = NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S%.f")?;
            let at_us = at.and_utc().timestamp_micros();
            if batch.series_index.is_empty() {
                batch.base_timestamp_us = at_us;
            }
            batch.series_index.push(index);
            batch.sensor_value.push(value.parse()?);
            batch
                .timestamp_delta_us
                .push(at_us - batch.base_timestamp_us);
        }
        Ok((!batch.series_index.is_empty()).then(|| batch.encode_to_vec()))
    }
}
