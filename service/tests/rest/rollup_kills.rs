//! A service with rollups and its database, killed in the middle of whatever they do.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::{
    common::{alone_on_each_engine, database::Database, program::Program, web},
    rollups::{assert_exact, send, some, span_of, until_settled},
};

alone_on_each_engine! {
    kills_and_changes_leave_every_bucket_exact,
}

const STARTED: [&str; 12] = [
    "--layout",
    "series",
    "--instance",
    "one",
    "--rollups",
    "1m:none,1h:none",
    "--ingest-earliest",
    "none",
    "--ingest-max-ahead",
    "none",
    "--ingest-lanes",
    "2",
];

/// Another schedule than the usual one.
const SEED: &str = "SLUICEGATE_TEST_SEED";

async fn kills_and_changes_leave_every_bucket_exact(database: Database) {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let mut random = StdRng::seed_from_u64(seed.unwrap_or(11));
    let mut program = Program::start(&database.url(), &STARTED).await;
    for round in 0..8 {
        let base = format!("http://{}/api/v1", program.rest);
        let (grpc, stream) = (program.grpc, format!("s{round}"));
        let count = random.random_range(200..4_000);
        let readings = some(&mut random, count);
        let sending = tokio::spawn(async move { send(grpc, &stream, readings).await });
        let change = random.random_range(0..4);
        let minute = random.random_range(0..150);
        let changing = async {
            let span = span_of(minute, minute + 7);
            let path = match change {
                0 => format!("/sensor/delete/time?{span}"),
                1 => "/sensor/delete/ids?id1=1,2&id2=a,b".to_owned(),
                _ => return,
            };
            // Whether it is done, and how far, is open.
            let client = web::builder().build().expect("a client");
            let _ = client.delete(format!("{base}{path}")).send().await;
        };
        sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        let fault = random.random_range(0..3);
        let wait = Duration::from_millis(random.random_range(0..400));
        match fault {
            // In the middle of whatever it does.
            0 => {
                let _ = timeout(wait, changing).await;
                program.kill().await;
                sending.abort();
                program = Program::start(&database.url(), &STARTED).await;
            }
            1 => {
                let _ = timeout(wait, changing).await;
                database.server.kill().await;
                sleep(wait).await;
                database.server.restart().await;
                // It goes on once the service has found its way back.
                let _ = timeout(Duration::from_secs(20), sending).await;
            }
            _ => {
                changing.await;
                let _ = sending.await;
            }
        }
    }
    // A change whose client is gone is held for as long as a statement of it may run.
    database
        .run("UPDATE rollup_dirty SET held_until = NULL")
        .await;
    until_settled(&database).await;
    assert_exact(&database).await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}
