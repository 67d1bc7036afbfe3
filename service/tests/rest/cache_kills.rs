//! Two instances with a cache, all of whose parts are killed and stopped at random, while readings come in and are deleted: no answer is
//! older than it may be.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use sluicegate_proto::v1::SensorReading;
use tokio::time::{sleep, timeout};

use crate::common::{
    alone_on_each_engine, cache_server::CacheServer, database::Database, program::Program,
    readings::BASE_US, web,
};

alone_on_each_engine! {
    kills_leave_no_answer_that_is_older_than_it_may_be,
}

const STALENESS: Duration = Duration::from_millis(1_000);
/// The first of them is deleted now and then; from the others nothing is taken.
const PAIRS: usize = 5;
const FAULTS: usize = 6;
/// A call that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Another schedule than that of chance.
const SEED: &str = "SLUICEGATE_TEST_SEED";

/// What is known of a pair. Its values only rise, and its times with them.
#[derive(Default)]
struct Known {
    /// Values that were acknowledged, and when.
    acked: Vec<(Instant, u64)>,
    /// Up to which value all were deleted, and when that was known.
    deleted: Vec<(Instant, u64)>,
    sent: u64,
}

impl Known {
    fn acked_by(&self, at: Instant) -> u64 {
        newest(&self.acked, at)
    }

    fn deleted_by(&self, at: Instant) -> u64 {
        newest(&self.deleted, at)
    }
}

fn newest(known: &[(Instant, u64)], at: Instant) -> u64 {
    let before = known.iter().rev().find(|(known_at, _)| *known_at <= at);
    before.map_or(0, |(_, value)| *value)
}

#[derive(Default)]
struct World {
    known: [Mutex<Known>; PAIRS],
    /// Where the instances are that run.
    addresses: [Mutex<Option<(SocketAddr, SocketAddr)>>; 2],
    over: AtomicBool,
    answers: AtomicU64,
    hits: AtomicU64,
}

impl World {
    fn known(&self, pair: usize) -> std::sync::MutexGuard<'_, Known> {
        self.known[pair].lock().expect("not poisoned")
    }

    fn address(&self, instance: usize) -> Option<(SocketAddr, SocketAddr)> {
        *self.addresses[instance].lock().expect("not poisoned")
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

async fn start(world: &World, instance: usize, database: &Database, url: &str) -> Program {
    let name = format!("i{instance}");
    let arguments = [
        "--instance",
        &name,
        "--cache-url",
        url,
        "--ingest-lanes",
        "2",
    ];
    let program = Program::start(&database.url(), &arguments).await;
    let addresses = (program.grpc, program.rest);
    *world.addresses[instance].lock().expect("not poisoned") = Some(addresses);
    program
}

/// Sends a reading after the other, each until it is acknowledged.
async fn write(world: Arc<World>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !world.is_over() {
        let pair = random.random_range(0..PAIRS);
        let value = {
            let mut known = world.known(pair);
            known.sent += 1;
            known.sent
        };
        let reading = SensorReading {
            sensor_value: Some(value as f64),
            sensor_type: "t".to_owned(),
            id1: 1,
            id2: format!("p{pair}"),
            timestamp_us: Some(BASE_US + value as i64),
        };
        while !world.is_over() {
            let Some((grpc, _)) = world.address(random.random_range(0..2)) else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let endpoint = tonic::transport::Channel::from_shared(format!("http://{grpc}"));
            let sending = async {
                let channel = endpoint.expect("an address").connect().await.ok()?;
                let mut client =
                    sluicegate_proto::v1::sensor_service_client::SensorServiceClient::new(channel);
                client.send_sensor_reading(reading.clone()).await.ok()
            };
            if let Ok(Some(_)) = timeout(PATIENCE, sending).await {
                world.known(pair).acked.push((Instant::now(), value));
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(random.random_range(0..8))).await;
    }
}

/// The value of each pair, and whether any of them came from the cache.
async fn ask(client: &reqwest::Client, rest: SocketAddr) -> Option<(Vec<Option<u64>>, bool)> {
    let ones = ["1"; PAIRS].join(",");
    let names: Vec<String> = (0..PAIRS).map(|pair| format!("p{pair}")).collect();
    let names = names.join(",");
    let url = format!("http://{rest}/api/v1/sensor/latest?id1={ones}&id2={names}");
    let response = client.get(url).timeout(PATIENCE).send().await.ok()?;
    if response.status() != 200 {
        return None;
    }
    let status = response.headers().get("cache-status");
    let is_hit = status.is_some_and(|status| {
        ["sluicegate; hit", "sluicegate; fwd=partial"]
            .contains(&status.to_str().unwrap_or_default())
    });
    let body: Value = response.json().await.ok()?;
    let latest = body["latest"].as_array()?;
    let value = |pair: usize| {
        let name = format!("p{pair}");
        let found = latest.iter().find(|one| one["id2"] == name.as_str())?;
        found["reading"]["sensor_value"]
            .as_f64()
            .map(|value| value as u64)
    };
    Some(((0..PAIRS).map(value).collect(), is_hit))
}

async fn read(world: Arc<World>, instance: usize) {
    let client = web::client();
    while !world.is_over() {
        sleep(Duration::from_millis(3)).await;
        let Some((_, rest)) = world.address(instance) else {
            continue;
        };
        let before = Instant::now().checked_sub(STALENESS).expect("it runs");
        let Some((values, is_hit)) = ask(&client, rest).await else {
            continue;
        };
        world.answers.fetch_add(1, Ordering::Relaxed);
        world.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
        for (pair, value) in values.into_iter().enumerate() {
            let known = world.known(pair);
            let value = value.unwrap_or(0);
            assert!(value <= known.sent, "pair {pair}: {value} was never sent");
            let deleted = known.deleted_by(before);
            assert!(
                value == 0 || value > deleted,
                "pair {pair}: {value} is answered, and all up to {deleted} were deleted a while ago (hit: {is_hit})"
            );
            let acked = if pair == 0 { 0 } else { known.acked_by(before) };
            assert!(
                value >= acked,
                "pair {pair}: {value} is answered, and {acked} was acknowledged a while ago (hit: {is_hit})"
            );
        }
    }
}

async fn delete(world: Arc<World>) {
    let client = web::client();
    let mut turn = 0;
    while !world.is_over() {
        sleep(Duration::from_millis(1_200)).await;
        turn += 1;
        let Some((_, rest)) = world.address(turn % 2) else {
            continue;
        };
        let acked = world.known(0).acked_by(Instant::now());
        let url = format!("http://{rest}/api/v1/sensor/delete/ids?id1=1&id2=p0");
        let deleted = client.delete(url).timeout(PATIENCE).send().await;
        if deleted.is_ok_and(|response| response.status() == 200) {
            world.known(0).deleted.push((Instant::now(), acked));
        }
    }
}

async fn kills_leave_no_answer_that_is_older_than_it_may_be(database: Database) {
    let Some(mut cache) = CacheServer::start().await else {
        return;
    };
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("{SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (world, url) = (Arc::new(World::default()), cache.url());
    let mut programs = [
        Some(start(&world, 0, &database, &url).await),
        Some(start(&world, 1, &database, &url).await),
    ];
    let tasks = [
        tokio::spawn(write(world.clone(), seed)),
        tokio::spawn(read(world.clone(), 0)),
        tokio::spawn(read(world.clone(), 1)),
        tokio::spawn(delete(world.clone())),
    ];
    for _ in 0..FAULTS {
        sleep(Duration::from_millis(random.random_range(600..1_600))).await;
        let instance = random.random_range(0..2);
        let a_while = Duration::from_millis(random.random_range(50..1_500));
        match random.random_range(0..5) {
            0 => {
                cache.kill();
                sleep(a_while / 2).await;
                cache.restart().await;
            }
            1 => {
                cache.pause().await;
                sleep(a_while).await;
                cache.resume();
            }
            2 => {
                *world.addresses[instance].lock().expect("not poisoned") = None;
                programs[instance].take().expect("it runs").kill().await;
                programs[instance] = Some(start(&world, instance, &database, &url).await);
            }
            3 => {
                let program = programs[instance].as_ref().expect("it runs");
                program.pause().await;
                sleep(a_while).await;
                program.resume();
            }
            _ => {
                database.server.kill().await;
                database.server.restart().await;
            }
        }
    }
    sleep(Duration::from_millis(1_500)).await;
    world.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("what was answered was not too old");
    }
    let (answers, hits) = (&world.answers, &world.hits);
    println!("{answers:?} answers, {hits:?} with the cache");
    assert!(
        hits.load(Ordering::Relaxed) > 20,
        "the cache has answered nothing"
    );
    // Once nothing comes any more, both say what the table holds, which a page is asked for.
    sleep(STALENESS + Duration::from_millis(200)).await;
    let client = web::client();
    for (_, rest) in [0, 1].map(|instance| world.address(instance).expect("it runs")) {
        let (values, _) = ask(&client, rest).await.expect("an answer");
        for (pair, value) in values.into_iter().enumerate() {
            let page = "/api/v1/sensor/ids?order=desc&limit=1&id1=1&id2=p";
            let page = client
                .get(format!("http://{rest}{page}{pair}"))
                .send()
                .await;
            let page: Value = page.expect("answers").json().await.expect("JSON");
            let held = page["readings"][0]["sensor_value"]
                .as_f64()
                .map(|held| held as u64);
            assert_eq!(value, held, "pair {pair}");
        }
    }
    // The ledger of readings that were deleted knows of more than there is.
    for program in programs.into_iter().flatten() {
        program.kill().await;
    }
}
