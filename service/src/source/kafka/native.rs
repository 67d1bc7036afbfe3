//! What librdkafka can do and its wrapper does not show: ids of topics, epochs of leaders, and the ends of logs that it knows.

#![allow(
    unsafe_code,
    reason = "calls of librdkafka's C interface, each with the reason why it is sound"
)]

use std::{
    ffi::{CStr, CString},
    ptr,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{
        rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
        rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names,
        rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_topic_id,
        rd_kafka_Uuid_base64str, rd_kafka_error_code, rd_kafka_error_string,
        rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error_string,
        rd_kafka_get_watermark_offsets, rd_kafka_message_leader_epoch, rd_kafka_queue_destroy,
        rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_topic_partition_set_leader_epoch,
    },
    client::{Client, ClientContext},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};

/// How long the brokers may take to describe a topic, milliseconds.
const DESCRIBE_DEADLINE_MS: i32 = 10_000;

/// The id that a topic got when it was made. Waits for the brokers: not for the threads of the runtime.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
) -> Result<String, String> {
    let name = CString::new(topic).map_err(|error| error.to_string())?;
    let mut names = [name.as_ptr()];
    // SAFETY: the client outlives the call; `names` and what it points to live until the end of this function, and the
    // collection copies them. Queue, collection and event are ours, are checked for null, and each is destroyed once, after
    // the last use of what it owns: the result, the description, its id and its texts belong to the event.
    unsafe {
        let queue = rd_kafka_queue_new(client.native_ptr());
        let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        rd_kafka_DescribeTopics(client.native_ptr(), topics, ptr::null(), queue);
        let event = rd_kafka_queue_poll(queue, DESCRIBE_DEADLINE_MS);
        let id = if event.is_null() {
            Err("the brokers do not answer".to_owned())
        } else {
            let result = rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            let described = match result.is_null() {
                true => ptr::null_mut(),
                false => rd_kafka_DescribeTopics_result_topics(result, &mut count),
            };
            if count == 0 || described.is_null() {
                Err(text(rd_kafka_event_error_string(event)))
            } else {
                let error = rd_kafka_TopicDescription_error(*described);
                if !error.is_null()
                    && rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
                {
                    Err(text(rd_kafka_error_string(error)))
                } else {
                    let id = rd_kafka_TopicDescription_topic_id(*described);
                    match id.is_null() {
                        true => Err("the brokers have no ids of topics".to_owned()),
                        false => Ok(text(rd_kafka_Uuid_base64str(id))),
                    }
                }
            }
        };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_TopicCollection_destroy(topics);
        rd_kafka_queue_destroy(queue);
        id
    }
}

/// The epoch of the leader that wrote a record; -1 where the broker does not say.
pub(super) fn leader_epoch(message: &BorrowedMessage<'_>) -> i32 {
    // SAFETY: the message is borrowed, so that it lives, and nothing of it is changed.
    unsafe { rd_kafka_message_leader_epoch(message.ptr()) }
}

/// Adds the epoch to the element that was added last.
pub(super) fn set_leader_epoch(list: &mut TopicPartitionList, epoch: i32) {
    let last = list.count().wrapping_sub(1);
    if last == usize::MAX {
        return;
    }
    // SAFETY: the list is borrowed alone, `elems` has `cnt` elements, and `last` is the index of the last one.
    unsafe {
        let elements = (*list.ptr()).elems;
        rd_kafka_topic_partition_set_leader_epoch(elements.add(last), epoch);
    }
}

/// The end of a partition as the fetches before have seen it: asks no broker.
pub(super) fn known_high<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let name = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client and the name outlive the call, which writes two numbers.
    let error = unsafe {
        rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            name.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// # Safety
/// `text` is null, or ends with a zero and lives until this returns.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return "the brokers do not say why".to_owned();
    }
    // SAFETY: the caller vouches for it.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
