//! Two instances share a database, and the producers move between them at random. The one they leave is often paused
//! with readings in its hands, and wakes up after the other has taken over: the fence holds (P2).

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    generator::Generator,
    judge::hold_stored,
    lab::Lab,
    outcome::{Millis, Outcome},
    service::Service,
    stack::{end, service_options, settle},
    wire::Wire,
};

const LOAD: &str = "--rate max --connections 2 --series 1000 --unacknowledged-bytes 2000000";
/// Within this a paused instance has lost its streams: far more than the database's limit on silence.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let moves = lab.scale.times(40, 4);
    moving(lab, moves, &[]).await
}

/// With a variable in their environment, the instances are programs with failpoints.
pub(crate) async fn moving(
    lab: &mut Lab,
    least: u32,
    environment: &[(&str, &str)],
) -> Result<Outcome> {
    let schema = lab.server.schema().await?;
    let mut instances = Vec::new();
    for name in ["gate-a", "gate-b"] {
        let mut options = service_options(lab, schema.service_url(schema.port), &[]);
        options.instance = name.to_owned();
        options.with_failpoints(lab, environment);
        let mut service = Service::spawn(&options)?;
        service.ready().await?;
        instances.push(service);
    }
    let front = Wire::start(instances[0].grpc).await?;
    let mut generator = Generator::start(lab, &front.url(), "moving", LOAD).await?;
    let (mut takeovers, mut moves, mut zombies) = (Millis::default(), 0, 0);
    let mut active = 0;
    // Until a zombie had something to be turned away for, as nearly every one has.
    let fences = environment.is_empty();
    while moves < least || (fences && turned_away(&instances).await? == 0 && moves < 10 * least) {
        generator.progress().await?;
        sleep(Duration::from_millis(lab.rng.random_range(0..300))).await;
        let (left, taken) = (&instances[active], &instances[1 - active]);
        let pauses = lab.rng.random_ratio(3, 4);
        if pauses {
            left.signal(Signal::STOP)?;
            zombies += 1;
        }
        let left_at = Instant::now();
        front.point_to(taken.grpc);
        front.reset();
        // A zombie that sleeps in the middle of a transaction holds the streams until the database ends it. Now and
        // then it is waited for; mostly it wakes up before, while the other one is about to take over.
        let patience = match lab.rng.random_ratio(1, 8) {
            true => TAKEOVER_LIMIT,
            false => Duration::from_millis(lab.rng.random_range(0..1_500)),
        };
        let taken_over = timeout(patience, generator.progress()).await;
        if pauses {
            left.signal(Signal::CONT)?;
        }
        match taken_over {
            Ok(settled) => drop(settled?),
            Err(_) => drop(generator.progress().await?),
        }
        takeovers.add(left_at.elapsed());
        active = 1 - active;
        moves += 1;
    }
    let judged = settle(
        lab,
        &schema,
        &[&instances[0], &instances[1]],
        vec![generator],
    )
    .await?;
    hold_stored(&schema, &[&instances[0], &instances[1]]).await?;
    let fenced = turned_away(&instances).await?;
    ensure!(
        fenced > 0,
        "no zombie ever had a reading in its hands: nothing was shown"
    );
    for service in instances {
        end(service).await?;
    }
    schema.drop().await?;
    let zombie_commits = (judged.verdict.duplicated + judged.verdict.unexpected) as f64;
    Ok(Outcome::of(moves, judged)
        .figure("zombies", f64::from(zombies))
        .figure("zombie_commits", zombie_commits)
        .figure("fenced_readings", fenced as f64)
        .figure("takeover_p50_ms", takeovers.quantile(0.5))
        .figure("takeover_max_ms", takeovers.quantile(1.0)))
}

async fn turned_away(instances: &[Service]) -> Result<u64> {
    let mut readings = 0;
    for service in instances {
        readings += service.readiness().await?.books.turned_away;
    }
    Ok(readings)
}
