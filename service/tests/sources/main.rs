//! What the service reads from message brokers, with real ones. `common/brokers/mod.rs` says which are tried out.

#[path = "../common/mod.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod common;

/// As `on_each_engine`, where the engine makes no difference.
macro_rules! on_mariadb {
    ($($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::common::run(sluicegate::embedded_db::Engine::MariaDb, steps::$name).await;
        })*
    };
}

mod fetching;
mod kafka;
mod kafka_access;
mod kafka_groups;
mod kafka_logs;
mod kafka_source;
mod mosquitto;
mod mqtt_source;
mod queues;
mod rabbitmq;
mod rabbitmq_queues;
mod rabbitmq_streams;
mod topics;
