//! Every case by its name, in the order in which they run.

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::Result;

use crate::{
    lab::{Lab, Scale},
    report::Outcome,
    service_kills,
};

type Running<'a> = Pin<Box<dyn Future<Output = Result<Outcome>> + 'a>>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) fault: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Lab) -> Running<'a>,
    /// Beyond this the case has failed.
    pub(crate) limit: fn(&Scale) -> Duration,
}

fn minutes(full: u64) -> impl Fn(&Scale) -> Duration {
    move |scale| Duration::from_secs(60 * if scale.quick { 3 } else { full })
}

pub(crate) const CASES: &[Case] = &[Case {
    name: "service-killed",
    fault: "the service is killed (SIGKILL) at random moments, its start included",
    run: |lab| Box::pin(service_kills::run(lab)),
    limit: |scale| minutes(30)(scale),
}];
