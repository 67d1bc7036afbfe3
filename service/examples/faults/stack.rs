//! A service on a schema of its own, with a proxy in front that producers connect to: it stays when the service goes.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::{
    database::Schema,
    generator::Generator,
    judge::{hold_books, hold_ledger, hold_stored},
    lab::Lab,
    service::{ANYWHERE, Service, ServiceOptions},
    verdict::Verdict,
    wire::Wire,
};

pub(crate) struct Stack {
    pub(crate) schema: Schema,
    pub(crate) options: ServiceOptions,
    pub(crate) service: Service,
    /// Whether it is the one that everything went through.
    is_first: bool,
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
            is_first: true,
            front,
        })
    }

    /// Starts a service with a database of its own.
    pub(crate) async fn start_embedded(lab: &Lab) -> Result<Self> {
        let folder = lab.folder.join("embedded");
        let mut options = service_options(lab, String::new(), &[]);
        options.database = vec![
            format!("--embedded-db={}", folder.display()),
            format!("--embedded-db-bin={}", lab.binary.display()),
        ];
        let mut service = Service::spawn(&options)?;
        service.ready().await?;
        Ok(Self {
            schema: Schema::embedded(&folder)?,
            options,
            front: Wire::start(service.grpc).await?,
            service,
            is_first: true,
        })
    }

    /// A generator that goes on until it is told to stop.
    pub(crate) async fn generator(&self, lab: &Lab, flags: &str) -> Result<Generator> {
        self.generator_named(lab, "generator", flags).await
    }

    /// As `generator`, for cases with more than one.
    pub(crate) async fn generator_named(
        &self,
        lab: &Lab,
        name: &str,
        flags: &str,
    ) -> Result<Generator> {
        Generator::start(lab, &self.front.url(), name, flags).await
    }

    /// Puts another service, which is ready, in the place of this one, and returns the old one.
    pub(crate) fn replace(&mut self, service: Service) -> Service {
        self.is_first = false;
        self.front.point_to(service.grpc);
        std::mem::replace(&mut self.service, service)
    }

    /// Ends the load and the service, and holds everything to the journals.
    pub(crate) async fn judge(self, lab: &Lab, generators: Vec<Generator>) -> Result<Judged> {
        let (schema, service) = (self.schema, self.service);
        let judged = settle(lab, &schema, &[&service], generators).await?;
        if self.is_first {
            hold_stored(&schema, &[&service]).await?;
        }
        end(service).await?;
        schema.drop().await?;
        Ok(judged)
    }
}

/// Ends the load, and holds books and ledger to each other and the table to the journals.
pub(crate) async fn settle(
    lab: &Lab,
    schema: &Schema,
    services: &[&Service],
    generators: Vec<Generator>,
) -> Result<Judged> {
    for generator in &generators {
        generator.stop()?;
    }
    let (mut journals, mut reconnects) = (Vec::new(), 0);
    for generator in generators {
        let (report, journal) = generator.ended().await?;
        reconnects += report.reconnects;
        journals.push(journal);
    }
    for service in services {
        hold_books(service).await?;
    }
    let verdict = Verdict::of(lab, schema, &journals).await?;
    verdict.hold()?;
    hold_ledger(schema).await?;
    Ok(Judged {
        verdict,
        reconnects,
    })
}

/// Ends a service that has nothing in flight.
pub(crate) async fn end(service: Service) -> Result<()> {
    service.signal(Signal::TERM)?;
    let status = service.ended().await?;
    ensure!(status.success(), "the service ended with {status}");
    Ok(())
}

/// What is found at the end.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// Attempts of producers to go on after a failure.
    pub(crate) reconnects: u64,
}

impl Judged {
    /// To add parts to.
    pub(crate) fn nothing() -> Self {
        Self {
            verdict: Verdict::none(),
            reconnects: 0,
        }
    }

    /// Adds another part of the same case.
    pub(crate) fn add(&mut self, other: &Self) {
        self.verdict.add(&other.verdict);
        self.reconnects += other.reconnects;
    }
}

pub(crate) fn service_options(lab: &Lab, database_url: String, flags: &[&str]) -> ServiceOptions {
    ServiceOptions {
        program: lab.programs.sluicegate.clone(),
        database: vec!["--database-url".to_owned(), database_url],
        instance: "gate".to_owned(),
        addresses: [ANYWHERE; 2],
        // The judge counts every rejection.
        flags: ["--quarantine-max-rows", "1000000000"]
            .iter()
            .chain(flags)
            .map(|&flag| flag.to_owned())
            .collect(),
        environment: Vec::new(),
        folder: lab.folder.clone(),
    }
}
