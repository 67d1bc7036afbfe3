//! Logs whose end was cut off. The brokers find it out when they are asked, and librdkafka asks them when it seeks, not when it
//! is given a partition.

use std::{sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _};

use super::{
    client::{Consumer, Partition},
    native,
    position::Beginning,
};
use crate::source::trouble::Trouble;

/// A partition that was just given begins in a moment, and can be sought in from then on.
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 200;
const SEEK_DEADLINE: Duration = Duration::from_secs(5);

/// Has the brokers compare the positions with their logs, before anything is read. What no longer fits is told in the queue of
/// its partition.
pub(super) async fn hold_against_logs(
    consumer: &Arc<Consumer>,
    positions: Vec<(Partition, Beginning)>,
) -> Result<(), Trouble> {
    let mut left: Vec<_> = positions
        .into_iter()
        .filter_map(|(partition, at)| Some((partition, at.offset, at.leader_epoch?)))
        .collect();
    for _ in 0..ATTEMPTS {
        if left.is_empty() {
            return Ok(());
        }
        let seeking = consumer.clone();
        let sought = tokio::task::spawn_blocking(move || seek(&seeking, left));
        left = sought
            .await
            .unwrap_or_else(|error| Err(Trouble::passing(error.to_string())))?;
        if !left.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Err(Trouble::passing(
        "the brokers do not say whether their logs still have what was read",
    ))
}

type Position = (Partition, i64, i32);

/// Returns those that have not begun yet.
fn seek(consumer: &Consumer, positions: Vec<Position>) -> Result<Vec<Position>, Trouble> {
    let mut list = TopicPartitionList::new();
    for (partition, offset, leader_epoch) in &positions {
        let Partition { topic, number } = partition;
        list.add_partition_offset(topic, *number, Offset::Offset(*offset))
            .map_err(|error| Trouble::passing(error.to_string()))?;
        native::set_leader_epoch(&mut list, *leader_epoch);
    }
    let sought = consumer
        .seek_partitions(list, SEEK_DEADLINE)
        .map_err(|error| Trouble::passing(error.to_string()))?;
    let has_begun = |partition: &Partition| {
        let found = sought.find_partition(&partition.topic, partition.number);
        found.is_some_and(|element| element.error().is_ok())
    };
    let left = positions.into_iter();
    Ok(left
        .filter(|(partition, ..)| !has_begun(partition))
        .collect())
}
