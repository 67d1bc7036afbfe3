//! What the tests share: a producer of the model service, and readings that can be told apart.

use std::time::Duration;

use sluicegate_proto::producer::{Producer, ProducerBuilder, ProducerError};

use crate::fake::Fake;

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn builder(fake: &Fake) -> ProducerBuilder {
    Producer::builder(format!("http://{}", fake.serve().await))
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .max_batch_readings(50)
}

/// Pushes readings whose value is their number, from 0, over 17 series.
pub(crate) async fn push_numbers(
    producer: &mut Producer,
    numbers: std::ops::Range<u64>,
) -> Result<(), ProducerError> {
    let series: Vec<_> = (0..17)
        .map(|i| producer.series(i, &format!("sensor-{i}"), "temperature"))
        .collect();
    for number in numbers {
        let seq = producer.next_seq();
        let handle = series[number as usize % series.len()];
        let pushed = producer.push(handle, number as f64, 1_000 * number as i64);
        assert_eq!(pushed.await?, seq);
    }
    Ok(())
}

pub(crate) fn assert_stored_once_in_order(fake: &Fake, count: u64) {
    let model = fake.model();
    let stored: Vec<u64> = model
        .stored
        .iter()
        .map(|r| r.sensor_value() as u64)
        .collect();
    assert_eq!(stored, (0..count).collect::<Vec<_>>());
    for reading in &model.stored {
        let number = reading.sensor_value() as u64;
        assert_eq!(reading.id1 as u64, number % 17);
        assert_eq!(reading.id2, format!("sensor-{}", number % 17));
        assert_eq!(reading.timestamp_us(), 1_000 * number as i64);
    }
}
