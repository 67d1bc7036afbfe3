//! Every case by its name, in the order in which they run.

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::Result;

use crate::{
    cuts, database_kills, database_stops, lab::Lab, producers, report::Outcome, service_kills,
    two_instances,
};

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
];
