//! A service on a schema of its own, with a proxy in front that producers connect to: it stays when the service goes.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::{
    database::Schema,
    generator::{Generator, RunReport},
    judge::{Verdict, hold_books, hold_ledger},
    lab::Lab,
    service::{Service, ServiceOptions},
    wire::Wire,
};

pub(crate) struct Stack {
    pub(crate) schema: Schema,
    pub(crate) options: ServiceOptions,
    pub(crate) service: Service,
    /// Between producers and the service.
    pub(crate) front: Wire,
}

impl Stack {
    /// Starts a service on a new schema of the lab's server.
    pub(crate) async fn start(lab: &mut Lab, flags: &[&str]) -> Result<Self> {
        let schema = lab.server.schema().await?;
        let url = schema.service_url(schema.port);
        let options = service_options(lab, url, flags);
        Self::start_on(schema, options).await
    }

    pub(crate) async fn start_on(schema: Schema, options: ServiceOptions) -> Result<Self> {
        let mut service = Service::spawn(&options)?;
        service.ready().await?;
        let front = Wire::start(service.grpc).await?;
        Ok(Self {
            schema,
            options,
            service,
            front,
        })
    }

    /// A generator that goes on until it is told to stop.
    pub(crate) async fn generator(&self, lab: &Lab, flags: &str) -> Result<Generator> {
        Generator::start(lab, &self.front.url(), "generator", flags).await
    }

    /// Puts another service, which is ready, in the place of this one, and returns the old one.
    pub(crate) fn replace(&mut self, service: Service) -> Service {
        self.front.point_to(service.grpc);
        std::mem::replace(&mut self.service, service)
    }

    /// Producers that connect now are refused.
    pub(crate) fn point_nowhere(&self) {
        self.front.point_to(SocketAddr::from(([127, 0, 0, 1], 1)));
    }

    /// Ends the load and the service, and holds everything to the journal.
    pub(crate) async fn judge(self, lab: &Lab, generator: Generator) -> Result<Judged> {
        generator.stop()?;
        let (report, journal) = generator.ended().await?;
        hold_books(&self.service).await?;
        hold_ledger(&self.schema).await?;
        let verdict = Verdict::of(lab, &self.schema, &[journal]).await?;
        verdict.hold()?;
        self.service.signal(Signal::TERM)?;
        let status = self.service.ended().await?;
        ensure!(status.success(), "the service ended with {status}");
        lab.server
            .admin()
            .run(&format!("DROP DATABASE {}", self.schema.name))
            .await?;
        Ok(Judged { verdict, report })
    }
}

/// What is found at the end.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) report: RunReport,
}

pub(crate) fn service_options(lab: &Lab, database_url: String, flags: &[&str]) -> ServiceOptions {
    ServiceOptions {
        program: lab.programs.sluicegate.clone(),
        database_url,
        instance: "gate".to_owned(),
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        environment: Vec::new(),
        folder: lab.folder.clone(),
    }
}
