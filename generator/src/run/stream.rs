//! The streaming modes: one producer per connection.

use sluicegate_proto::producer::{Producer, ProducerError, SeriesHandle};
use tokio::time::Instant;

use super::{Driven, Mode, RunOptions, Share};
use crate::{error::Error, follower::Follower};

pub(super) async fn connect(options: &RunOptions, connection: u16) -> Result<Producer, Error> {
    let prefix = options.stream_id.as_deref().unwrap_or("sluicegen");
    let mut builder = Producer::builder(&options.target)
        .stream_id(format!("{prefix}-{connection}"))
        .encoding(options.encoding.into())
        .connect_patience(options.connect_timeout)
        .acked(options.mode == Mode::StreamAcked)
        .max_unacknowledged_bytes(options.unacknowledged_bytes);
    if let Some(time) = options.give_up_after.0 {
        builder = builder.give_up_after(time);
    }
    if let Some(readings) = options.batch_size {
        builder = builder.max_batch_readings(readings as usize);
    }
    Ok(options.access.on_producer(builder)?.connect().await?)
}

pub(super) async fn drive(mut share: Share, mut producer: Producer) -> Driven {
    let follower = Follower::start(
        &producer,
        &share.until.counters,
        share.source.log.as_ref(),
        share.connection,
    );
    let pushed = push_all(&mut share, &mut producer, &follower).await;
    let last_sent = Instant::now();
    share.source.end();
    let mut tally = follower.finish(producer, pushed).await;
    for error in &mut tally.errors {
        *error = format!("connection {}: {error}", share.connection);
    }
    Driven { tally, last_sent }
}

async fn push_all(
    share: &mut Share,
    producer: &mut Producer,
    follower: &Follower,
) -> Result<(), ProducerError> {
    let (source, until) = (&mut share.source, &share.until);
    let handles: Vec<SeriesHandle> = source
        .workload
        .series()
        .iter()
        .map(|series| producer.series(series.id1, &series.id2, &series.sensor_type))
        .collect();
    let pace = share.load.pace(u32::MAX);
    let mut columns = Columns::default();
    loop {
        let readings = until.allows(source.position, pace.chunk());
        if readings == 0 {
            return Ok(());
        }
        let Some(intended) = until.wait(&pace, readings).await else {
            return Ok(());
        };
        columns.clear();
        let may_send = source.make(readings, pace.rate(), |_, made| {
            columns.series.push(handles[made.series]);
            columns.values.push(made.value);
            columns.timestamps_us.push(made.timestamp_us);
        });
        if !may_send {
            return Ok(());
        }
        let last_seq = producer
            .push_columns(&columns.series, &columns.values, &columns.timestamps_us)
            .await?;
        follower.sent(last_seq, readings, intended);
        follower.note_rejected(producer);
    }
}

#[derive(Default)]
struct Columns {
    series: Vec<SeriesHandle>,
    values: Vec<f64>,
    timestamps_us: Vec<i64>,
}

impl Columns {
    fn clear(&mut self) {
        self.series.clear();
        self.values.clear();
        self.timestamps_us.clear();
    }
}
