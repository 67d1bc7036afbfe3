//! Every case by its name, in the order in which they run.

mod clock;
mod control;
mod cuts;
mod database_kills;
mod database_states;
mod database_stops;
mod disk_full;
mod embedded_kills;
mod floods;
mod hostile_memory;
mod http_bodies;
mod moving;
mod noisy_neighbour;
mod numbers;
mod poison;
mod producers;
mod random_clock;
mod retention_clock;
mod server_limits;
mod service_kills;
mod sigterm;
mod soak;
mod sources;
mod spool;
mod task_panics;
mod two_instances;

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::Result;

use crate::{lab::Lab, outcome::Outcome};

type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome>> + 'a>>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) fault: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Lab) -> Running<'a>,
    /// Beyond this the case has failed. Far more than it takes: a case that hangs must not hang the suite.
    pub(crate) limit: Duration,
}

const fn case(
    name: &'static str,
    fault: &'static str,
    limit_minutes: u64,
    run: for<'a> fn(&'a mut Lab) -> Running<'a>,
) -> Case {
    Case {
        name,
        fault,
        run,
        limit: Duration::from_secs(60 * limit_minutes),
    }
}

pub(crate) const CASES: &[Case] = &[
    case(
        "service-killed",
        "the service is killed at random moments, its start included",
        30,
        |lab| Box::pin(service_kills::run(lab)),
    ),
    case(
        "database-killed",
        "the database is killed in mid-load",
        60,
        |lab| Box::pin(database_kills::run(lab)),
    ),
    case(
        "embedded-killed",
        "the embedded database is killed at full rate, and then five times within a minute",
        30,
        |lab| Box::pin(embedded_kills::run(lab)),
    ),
    case(
        "database-stopped",
        "the database stands still at full rate",
        10,
        |lab| Box::pin(database_stops::run(lab)),
    ),
    case(
        "database-cut",
        "the connection to the database is cut in a load, around COMMIT and at any other byte",
        30,
        |lab| Box::pin(cuts::run(lab)),
    ),
    case(
        "producer-cut",
        "the producers' connections are reset, stalled, throttled, delayed, sliced and cut",
        20,
        |lab| Box::pin(producers::run(lab)),
    ),
    case(
        "two-instances",
        "producers move between two instances, and the one they leave wakes up late",
        20,
        |lab| Box::pin(two_instances::run(lab)),
    ),
    case(
        "spool",
        "sluicegen forward, the service and the database are killed at once, and what was being written to the spool is torn",
        40,
        |lab| Box::pin(spool::run(lab)),
    ),
    case(
        "http",
        "readings come in over HTTP; service and database are killed in turns, connections are cut, lines are poison",
        60,
        |lab| Box::pin(http_bodies::run(lab)),
    ),
    case(
        "kafka",
        "readings are fetched from Kafka; service, database and broker are killed in turns, connections are cut, the broker's disk fills up, messages are poison",
        60,
        |lab| Box::pin(sources::run(lab, sources::Kind::Kafka)),
    ),
    case(
        "rabbitmq-stream",
        "readings are fetched from a stream of RabbitMQ; service, database and broker are killed in turns, connections are cut, the broker's disk fills up, messages are poison",
        60,
        |lab| Box::pin(sources::run(lab, sources::Kind::Stream)),
    ),
    case(
        "rabbitmq-queue",
        "readings are fetched from a queue of RabbitMQ; service, database and broker are killed in turns, connections are cut, the broker's disk fills up, messages are poison",
        60,
        |lab| Box::pin(sources::run(lab, sources::Kind::Queue)),
    ),
    case(
        "mqtt",
        "readings are fetched from MQTT; service, database and broker are killed in turns, connections are cut, the broker's disk fills up, messages are poison",
        60,
        |lab| Box::pin(sources::run(lab, sources::Kind::Mqtt)),
    ),
    case(
        "moving",
        "readings are moved into the layout series and back while others come in; mover, service and database are killed in turns",
        30,
        |lab| Box::pin(moving::run(lab)),
    ),
    case(
        "disk-full",
        "the disk of the database fills up and is freed",
        20,
        |lab| Box::pin(disk_full::run(lab)),
    ),
    case(
        "database-states",
        "the database is read-only, restarts, has no connections left, a locked table, deadlocks",
        20,
        |lab| Box::pin(database_states::run(lab)),
    ),
    case(
        "server-limits",
        "no batch fits into the server's limits, the table takes nothing for a while, and refuses readings of a stream",
        20,
        |lab| Box::pin(server_limits::run(lab)),
    ),
    case(
        "sigterm",
        "SIGTERM at full rate, and once with a table that is locked past the deadline",
        20,
        |lab| Box::pin(sigterm::run(lab)),
    ),
    case(
        "clock",
        "the service's clock jumps by hours and months, both ways",
        15,
        |lab| Box::pin(clock::run(lab)),
    ),
    case(
        "retention-clock",
        "clocks jump by 400 days while readings are kept for 30, the host's alone and the database's with it",
        30,
        |lab| Box::pin(retention_clock::run(lab)),
    ),
    case(
        "random-clock",
        "a device whose clock is random sends sixteen readings a second",
        15,
        |lab| Box::pin(random_clock::run(lab)),
    ),
    case(
        "poison",
        "one reading in a hundred is poison: texts, values and times at the edge and beyond",
        15,
        |lab| Box::pin(poison::run(lab)),
    ),
    case(
        "noisy-neighbour",
        "four streams bring all that the service takes, good readings and then bad ones, beside single calls and a slow stream",
        15,
        |lab| Box::pin(noisy_neighbour::run(lab)),
    ),
    case(
        "hostile-memory",
        "strangers withhold, inflate, stall and flood, all at once, with the table locked",
        30,
        |lab| Box::pin(hostile_memory::run(lab)),
    ),
    case(
        "floods",
        "connections that are silent or slow, and frames that cost the server more than the client",
        30,
        |lab| Box::pin(floods::run(lab)),
    ),
    case(
        "handshakes",
        "handshakes of TLS that are begun and not ended",
        20,
        |lab| Box::pin(floods::handshakes(lab)),
    ),
    case(
        "task-panics",
        "each long-lived task panics at full rate",
        20,
        |lab| Box::pin(task_panics::run(lab)),
    ),
    case(
        "soak",
        "a long run at 70 % of full rate, a fault every 20 s",
        180,
        |lab| Box::pin(soak::run(lab)),
    ),
    case(
        "control",
        "the ledger check is off: duplicates must be found",
        15,
        |lab| Box::pin(control::run(lab)),
    ),
];
