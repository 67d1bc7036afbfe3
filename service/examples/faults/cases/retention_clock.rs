//! Clocks jump by 400 days, both ways, while old readings are dropped after 30: the host's alone beside a database of its
//! own, and both together where the database is embedded. Nothing that was acknowledged goes, and what is said is why.

use anyhow::Result;

use crate::{
    faketime::FakeClock,
    generator::Generator,
    lab::Lab,
    outcome::Outcome,
    process::until,
    service::{Service, ServiceOptions},
    stack::{Stack, end, service_options},
    verdict::{Verdict, hold},
};

const LOAD: &str = "--rate 2000 --connections 1 --series 100";
const FLAGS: [&str; 3] = [
    "--partitions-retention=30d",
    "--partitions-interval-s=1",
    "--shutdown-deadline-s=60",
];
const JUMP_S: i64 = 400 * 86_400;

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(5, 1);
    let (own_faults, judged) = own_database(lab, rounds).await?;
    let (embedded_faults, verdict) = embedded_database(lab, rounds).await?;
    let mut outcome = Outcome::of(own_faults + embedded_faults, judged);
    outcome.verdict.add(&verdict);
    Ok(outcome)
}

/// The host's clock jumps, the database's does not.
async fn own_database(lab: &mut Lab, rounds: u32) -> Result<(u32, crate::stack::Judged)> {
    let clock = FakeClock::new(&lab.folder)?;
    let schema = lab.server.schema().await?;
    let url = schema.service_url(schema.port);
    let mut options = service_options(lab, url, &FLAGS);
    options.environment = clock.environment()?;
    let stack = Stack::start_on(schema, options).await?;
    let mut generator = stack.generator(lab, LOAD).await?;
    let mut faults = 0;
    for jump_s in (0..rounds).flat_map(|_| [JUMP_S, -JUMP_S]) {
        generator.progress().await?;
        clock.set(jump_s)?;
        waits(&stack.service, true).await?;
        generator.progress().await?;
        hold_all_kept(&stack.service).await?;
        clock.set(0)?;
        waits(&stack.service, false).await?;
        faults += 1;
    }
    let judged = stack.judge(lab, vec![generator]).await?;
    Ok((faults, judged))
}

/// Both clocks jump together, and the service is started anew meanwhile.
async fn embedded_database(lab: &mut Lab, rounds: u32) -> Result<(u32, Verdict)> {
    let clock = FakeClock::new(&lab.folder)?;
    let options = ServiceOptions {
        instance: "embedded".to_owned(),
        environment: clock.environment()?,
        database: vec![
            format!("--embedded-db={}", lab.folder.join("embedded").display()),
            format!("--embedded-db-bin={}", lab.binary.display()),
        ],
        ..service_options(lab, String::new(), &FLAGS)
    };
    // The database is made by the clock of this machine, which takes a fraction of the time.
    let plain = ServiceOptions {
        environment: Vec::new(),
        ..options.clone()
    };
    let mut service = Service::spawn(&plain)?;
    service.ready().await?;
    end(service).await?;
    service = Service::spawn(&options)?;
    service.ready().await?;
    let front = crate::wire::Wire::start(service.grpc).await?;
    let mut generator = Generator::start(lab, &front.url(), "embedded", LOAD).await?;
    let mut faults = 0;
    for _ in 0..rounds {
        generator.progress().await?;
        clock.set(JUMP_S)?;
        waits(&service, true).await?;
        generator.progress().await?;
        hold_all_kept(&service).await?;
        end(service).await?;
        service = Service::spawn(&options)?;
        service.ready().await?;
        front.point_to(service.grpc);
        waits(&service, true).await?;
        generator.progress().await?;
        hold_all_kept(&service).await?;
        clock.set(0)?;
        waits(&service, false).await?;
        // Nothing is older by a clock that went back, and the readings of now are not of the future.
        clock.set(-JUMP_S)?;
        generator.progress().await?;
        hold_all_kept(&service).await?;
        clock.set(0)?;
        faults += 3;
    }
    generator.stop()?;
    let (_, journal) = generator.ended().await?;
    let verdict = Verdict::over_rest(lab, service.rest, &[journal]).await?;
    verdict.hold()?;
    end(service).await?;
    Ok((faults, verdict))
}

/// Waits until retention waits, or goes on, and holds that meanwhile nothing is dropped.
async fn waits(service: &Service, waits: bool) -> Result<()> {
    until("retention sees what the clock does", async || {
        hold_all_kept(service).await?;
        Ok(service.partitions().await?.retention_waits.is_some() == waits)
    })
    .await
}

async fn hold_all_kept(service: &Service) -> Result<()> {
    let partitions = service.partitions().await?;
    hold!(
        partitions.dropped == 0,
        "partitions were dropped because a clock has jumped: {partitions:?}"
    );
    Ok(())
}
