//! Random schedules over two instances, a real cache and a table in memory, by a clock of their own: whatever is answered stood in the
//! table within the staleness, and was not followed by anything newer before that. (Two lanes' news may come in another order than their
//! commits: so an answer need not be what the table held at one moment.)

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tempfile::TempDir;

use super::{CacheMetrics, Keeper, reader::silent};
use crate::{
    model::{Epoch, IdPair, Reading, Seq, Series, StoredReading, StreamId},
    repository::{
        CommitMark, CommitMarks, Standing, Untold,
        cache::{CacheAddress, CacheSettings, LatestCache, Looked, PairCopy},
    },
    telemetry::metrics::Metrics,
    usecase::ingest::{CommittedRows, Fresh, Watches},
};

const STALENESS_MS: u64 = 1_000;
const PAIRS: usize = 8;
const TYPES: usize = 2;
const INSTANCES: usize = 2;
const STEPS: usize = 500;
const SCHEDULES: u64 = 300;
/// Of `SLUICEGATE_TEST_SCHEDULES`, for more.
const MORE: &str = "SLUICEGATE_TEST_SCHEDULES";

/// A server of its own, on a socket in a directory.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    /// None, said aloud, where there is no program for it.
    async fn start() -> Option<Self> {
        let dir = TempDir::new().expect("a directory");
        let socket = dir.path().join("cache.sock");
        for program in ["valkey-server", "redis-server"] {
            let started = Command::new(program)
                .args(["--port", "0", "--save", "", "--appendonly", "no"])
                .arg("--unixsocket")
                .arg(&socket)
                .arg("--dir")
                .arg(dir.path())
                .stdout(Stdio::null())
                .spawn();
            if let Ok(child) = started {
                let give_up_at = Instant::now() + Duration::from_secs(20);
                while !socket.exists() {
                    assert!(Instant::now() < give_up_at, "{program} does not start");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return Some(Self { child, dir });
            }
        }
        assert!(
            std::env::var("SLUICEGATE_TEST_REDIS").is_err(),
            "there is neither valkey-server nor redis-server"
        );
        println!("SKIPPED: there is neither valkey-server nor redis-server");
        None
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("cache.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Type, time, id and value.
type One = (usize, i64, i64, u64);
/// The newest of each type of a pair.
type Newest = Vec<One>;

#[derive(Clone, Debug)]
struct Row {
    pair: usize,
    sensor_type: usize,
    timestamp_us: i64,
    id: i64,
    value: f64,
}

/// The table and the ledger.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    next_id: i64,
    lanes: BTreeMap<String, (u64, u64)>,
    /// Begun, ended, and when it is over, milliseconds.
    changes: BTreeMap<String, (u64, u64, u64)>,
    /// Of each pair what was newest from when on.
    history: Vec<Vec<(u64, Newest)>>,
    /// Every row with every value that it had: pair, and the rest, from when until when.
    lives: Vec<(usize, One, u64, u64)>,
}

impl Table {
    fn newest(&self, pair: usize) -> Newest {
        let of_type = |sensor_type| {
            let rows = self.rows.iter();
            let own = rows.filter(|row| row.pair == pair && row.sensor_type == sensor_type);
            let newest = own.max_by_key(|row| (row.timestamp_us, row.id))?;
            let (at, id) = (newest.timestamp_us, newest.id);
            Some((sensor_type, at, id, newest.value.to_bits()))
        };
        (0..TYPES).filter_map(of_type).collect()
    }

    fn note(&mut self, now_ms: u64) {
        let alive = self.rows.iter().map(|row| {
            let value = row.value.to_bits();
            (row.pair, (row.sensor_type, row.timestamp_us, row.id, value))
        });
        let alive: Vec<(usize, One)> = alive.collect();
        for (pair, one, _, until) in &mut self.lives {
            if *until == u64::MAX && !alive.contains(&(*pair, *one)) {
                *until = now_ms;
            }
        }
        for (pair, one) in alive {
            let is_known =
                |life: &(usize, One, u64, u64)| (life.0, life.1, life.3) == (pair, one, u64::MAX);
            if !self.lives.iter().any(is_known) {
                self.lives.push((pair, one, now_ms, u64::MAX));
            }
        }
        self.history.resize(PAIRS, Vec::new());
        for pair in 0..PAIRS {
            let newest = self.newest(pair);
            if self.history[pair]
                .last()
                .is_none_or(|(_, last)| *last != newest)
            {
                self.history[pair].push((now_ms, newest));
            }
        }
    }

    /// Whether that may be answered of a type of a pair: it was there at some moment from `from_ms` on, and at some such moment nothing newer
    /// was; or, where nothing is answered, there was none.
    fn may_answer(&self, pair: usize, sensor_type: usize, what: Option<One>, from_ms: u64) -> bool {
        let history = &self.history[pair];
        let until = |place: usize| history.get(place + 1).map_or(u64::MAX, |next| next.0);
        let states = history.iter().enumerate();
        let mut recent = states.filter(|(place, _)| until(*place) >= from_ms);
        let newest = |held: &Newest| held.iter().find(|one| one.0 == sensor_type).copied();
        let key = |one: One| (one.1, one.2);
        let was_there = what.is_none_or(|what| {
            let mut lives = self.lives.iter();
            lives.any(|life| (life.0, life.1) == (pair, what) && life.3 >= from_ms)
        });
        was_there && recent.any(|(_, (_, held))| newest(held).map(key) <= what.map(key))
    }

    fn standings(&self, now_ms: u64) -> Vec<Standing> {
        let lanes = self.lanes.iter().map(|(name, (epoch, number))| Standing {
            name: name.clone(),
            place: format!("{epoch}:{number}"),
            is_open: false,
        });
        let changes = self
            .changes
            .iter()
            .map(|(name, (begun, ended, until))| Standing {
                name: name.clone(),
                place: format!("0:{begun}"),
                is_open: begun > ended && *until > now_ms,
            });
        lanes.chain(changes).collect()
    }
}

fn series(pair: usize, sensor_type: usize) -> Series {
    Series {
        id1: 1,
        id2: format!("p{pair}"),
        sensor_type: format!("t{sensor_type}"),
    }
}

fn id_pair(pair: usize) -> IdPair {
    IdPair {
        id1: 1,
        id2: format!("p{pair}"),
    }
}

fn stored(pair: usize, newest: &Newest) -> Vec<StoredReading> {
    let one = |&(sensor_type, timestamp_us, id, bits): &(usize, i64, i64, u64)| StoredReading {
        id,
        reading: Reading {
            series: series(pair, sensor_type),
            sensor_value: f64::from_bits(bits),
            timestamp_us,
        },
    };
    newest.iter().map(one).collect()
}

struct Batch(Vec<Row>, Vec<(i32, String, String)>);

impl Batch {
    fn of(rows: Vec<Row>) -> Self {
        let names = rows.iter().map(|row| {
            let series = series(row.pair, row.sensor_type);
            (series.id1, series.id2, series.sensor_type)
        });
        let names = names.collect();
        Self(rows, names)
    }
}

impl CommittedRows for Batch {
    fn series_count(&self) -> u32 {
        self.1.len() as u32
    }

    fn series(&self, index: u32) -> (i32, &str, &str) {
        let (id1, id2, sensor_type) = &self.1[index as usize];
        (*id1, id2, sensor_type)
    }

    fn visit(&self, mut row: impl FnMut(u32, Fresh)) -> bool {
        for (index, one) in self.0.iter().enumerate() {
            let fresh = Fresh {
                sensor_value: one.value,
                timestamp_us: one.timestamp_us,
                id: one.id,
                readings: 1,
            };
            row(index as u32, fresh);
        }
        true
    }
}

/// A change under way: its number, its pair, whether the cache heard of it, and whether the table was changed.
struct Change {
    number: u64,
    pairs: Option<Vec<IdPair>>,
    pair: usize,
    is_done: bool,
}

struct Instance {
    name: String,
    cache: LatestCache,
    /// Whether it reaches the cache.
    reaches: bool,
    watches: Arc<Watches>,
    marks: CommitMarks,
    mark: Arc<CommitMark>,
    keeper: Keeper,
    lane: String,
    epoch: u64,
    number: u64,
    /// Batches whose COMMIT was sent and has not arrived.
    sent: Option<(u64, Vec<Row>)>,
    /// Committed, and not told.
    untold: VecDeque<(u64, Vec<Row>)>,
    change: Option<Change>,
    seen: Option<(u64, Vec<Standing>)>,
    before: Vec<Standing>,
    /// What was read to be kept, and is not sent yet.
    fills: Vec<(usize, String, Newest)>,
}

/// By the clock of the schedule.
struct Clock {
    start: Instant,
    ms: u64,
}

impl Clock {
    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }
}

impl Instance {
    fn start(socket: &Path, schedule: u64, index: usize, table: &mut Table) -> Self {
        let settings = CacheSettings {
            address: CacheAddress::parse(&format!("unix://{}", socket.display())).expect("one"),
            max_staleness: Duration::from_millis(STALENESS_MS),
            max_pairs: 7,
        };
        let cache = || {
            let place = format!("schedule {schedule}");
            LatestCache::new(&settings, &place, true, Duration::from_secs(10)).expect("one")
        };
        let name = format!("i{index}");
        let lane = StreamId::of_lane(&name, 0);
        let place = table.lanes.entry(lane.as_str().to_owned()).or_default();
        place.0 += 1;
        let (epoch, number) = *place;
        let marks = CommitMarks::default();
        let mark = marks.add(&lane, Epoch(epoch), Seq(number));
        let watches = Arc::<Watches>::default();
        let metrics = CacheMetrics::new(&Metrics::default());
        let staleness = Duration::from_millis(STALENESS_MS);
        Self {
            cache: cache(),
            reaches: true,
            keeper: Keeper::new(Arc::new(cache()), watches.clone(), staleness, metrics),
            watches,
            marks,
            mark,
            lane: lane.as_str().to_owned(),
            name,
            epoch,
            number,
            sent: None,
            untold: VecDeque::new(),
            change: None,
            seen: None,
            before: Vec::new(),
            fills: Vec::new(),
        }
    }

    fn at(&self, clock: &Clock) {
        let ms = 1_000_000_000 + clock.ms;
        self.cache.clock_ms.store(ms, Ordering::Relaxed);
        self.keeper.cache().clock_ms.store(ms, Ordering::Relaxed);
    }

    fn changes(&self) -> String {
        format!("{}{}", Standing::CHANGES_PREFIX, self.name)
    }

    fn send(&mut self, random: &mut StdRng, table: &mut Table, clock: &Clock) {
        if self.sent.is_some() {
            return;
        }
        let rows = (0..random.random_range(1..3)).map(|_| {
            table.next_id += 1;
            Row {
                pair: random.random_range(0..PAIRS),
                sensor_type: random.random_range(0..TYPES),
                timestamp_us: random.random_range(0..6),
                id: table.next_id,
                value: random.random(),
            }
        });
        self.number += 1;
        self.mark.sends_commit(Seq(self.number), clock.instant());
        self.sent = Some((self.number, rows.collect()));
    }

    fn land(&mut self, table: &mut Table, clock: &Clock) {
        // One whose epoch is not that of the ledger is fenced.
        let Some((number, rows)) = self.sent.take() else {
            return;
        };
        let place = table.lanes.get_mut(&self.lane).expect("it was opened");
        if place.0 != self.epoch {
            return;
        }
        place.1 = number;
        table.rows.extend(rows.clone());
        table.note(clock.ms);
        self.untold.push_back((number, rows));
    }

    fn tell(&mut self) {
        if let Some((number, rows)) = self.untold.pop_front() {
            self.watches.tell(&Batch::of(rows));
            Untold::new(&self.mark, Seq(number)).is_told();
        }
    }

    async fn round(&mut self, clock: &Clock) {
        if self.reaches {
            let marks = self.marks.now();
            let done = self.keeper.round(&marks, clock.instant()).await;
            done.expect("the cache answers");
        } else {
            self.keeper.lose();
        }
    }

    /// Asks for some of the pairs.
    async fn read(&mut self, some: &[usize], table: &Table, clock: &Clock) {
        if !self.reaches {
            return;
        }
        let standings = match &self.seen {
            Some((at, standings)) if clock.ms - at < STALENESS_MS / 4 => standings.clone(),
            _ => self.look_at(table, clock),
        };
        let pairs: Vec<IdPair> = some.iter().copied().map(id_pair).collect();
        let mut looked = self.cache.look(&standings, &pairs).await.expect("answers");
        if matches!(looked, Looked::Newer(_)) {
            let standings = self.look_at(table, clock);
            looked = self.cache.look(&standings, &pairs).await.expect("answers");
        }
        let copies = match looked {
            Looked::Copies(copies) => copies,
            other => {
                let (_, standings) = self.seen.as_ref().expect("looked at");
                let of = silent(other, standings, &self.before);
                if !of.is_empty() {
                    self.cache.repair(&of).await.expect("answers");
                }
                return;
            }
        };
        for (&pair, copy) in some.iter().zip(copies) {
            match copy {
                PairCopy::Kept(readings) => {
                    let answered: Newest = readings
                        .iter()
                        .map(|one| {
                            let sensor_type = &one.reading.series.sensor_type[1..];
                            let value = one.reading.sensor_value.to_bits();
                            let sensor_type = sensor_type.parse().expect("a number");
                            (sensor_type, one.reading.timestamp_us, one.id, value)
                        })
                        .collect();
                    let from_ms = clock.ms.saturating_sub(STALENESS_MS);
                    for sensor_type in 0..TYPES {
                        let one = answered.iter().find(|one| one.0 == sensor_type);
                        assert!(
                            table.may_answer(pair, sensor_type, one.copied(), from_ms),
                            "at {} ms pair {pair} is answered {answered:?}, and held {:?}",
                            clock.ms,
                            table.history[pair]
                        );
                    }
                    KEPT.fetch_add(1, Ordering::Relaxed);
                }
                PairCopy::Fill(nonce) => self.fills.push((pair, nonce, table.newest(pair))),
                PairCopy::Missing => {}
            }
        }
    }

    fn look_at(&mut self, table: &Table, clock: &Clock) -> Vec<Standing> {
        let standings = table.standings(clock.ms);
        if let Some((_, before)) = self.seen.replace((clock.ms, standings.clone())) {
            self.before = before;
        }
        standings
    }

    async fn fill(&mut self) {
        if self.fills.is_empty() || !self.reaches {
            return;
        }
        let (pair, nonce, newest) = self.fills.remove(0);
        let (pair, found) = (id_pair(pair), stored(pair, &newest));
        let fill = [(&pair, &*nonce, &*found)];
        self.cache.fill(&fill).await.expect("answers");
    }

    async fn change(&mut self, random: &mut StdRng, table: &mut Table, clock: &Clock) {
        let name = self.changes();
        let Some(change) = &mut self.change else {
            let pair = random.random_range(0..PAIRS);
            let pairs = random.random_bool(0.7).then(|| vec![id_pair(pair)]);
            let count = table.changes.entry(name.clone()).or_default();
            count.0 += 1;
            count.2 = clock.ms + 2_000;
            let number = count.0;
            if self.reaches {
                let begun = self.cache.begin_change((&name, number), pairs.as_deref());
                begun.await.expect("answers");
            }
            self.change = Some(Change {
                number,
                pairs,
                pair,
                is_done: false,
            });
            return;
        };
        if !change.is_done {
            change.is_done = true;
            // It says that it goes on before each statement.
            let count = table.changes.get_mut(&name).expect("begun");
            count.2 = clock.ms + 2_000;
            let (pair, deletes) = (change.pair, random.random_bool(0.5));
            let newest = table.newest(pair);
            let ids: Vec<i64> = newest.iter().map(|one| one.2).collect();
            match deletes {
                true => table.rows.retain(|row| !ids.contains(&row.id)),
                false => {
                    for row in table.rows.iter_mut().filter(|row| ids.contains(&row.id)) {
                        row.value = random.random();
                    }
                }
            }
            table.note(clock.ms);
            return;
        }
        let Some(change) = self.change.take() else {
            return;
        };
        if self.reaches {
            let of = (&*name, change.number);
            let ended = self.cache.end_change(of, change.pairs.as_deref()).await;
            ended.expect("answers");
        }
        let count = table.changes.get_mut(&name).expect("begun");
        count.1 = (count.1 + 1).min(count.0);
    }
}

/// Pairs that were answered from the cache: where there are none, nothing is tested.
static KEPT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// All keys with what they hold, and how long they live on.
async fn copy_of(
    connection: &mut redis::aio::MultiplexedConnection,
) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*")
        .query_async(connection)
        .await
        .unwrap();
    let mut copies = Vec::new();
    for key in keys {
        let held: Option<Vec<u8>> = redis::cmd("DUMP")
            .arg(&key)
            .query_async(connection)
            .await
            .unwrap();
        let ttl: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(connection)
            .await
            .unwrap();
        if let Some(held) = held {
            copies.push((key, held, ttl.max(0)));
        }
    }
    copies
}

async fn set_back(
    connection: &mut redis::aio::MultiplexedConnection,
    copy: &[(Vec<u8>, Vec<u8>, i64)],
) {
    let _: () = redis::cmd("FLUSHALL")
        .query_async(connection)
        .await
        .unwrap();
    for (key, held, ttl) in copy {
        let mut restore = redis::cmd("RESTORE");
        restore.arg(key).arg(ttl).arg(held);
        let _: () = restore.query_async(connection).await.unwrap();
    }
}

/// A server that runs out of memory takes what it likes.
async fn evict(connection: &mut redis::aio::MultiplexedConnection) {
    let key: Option<Vec<u8>> = redis::cmd("RANDOMKEY")
        .query_async(connection)
        .await
        .unwrap();
    if let Some(key) = key {
        let _: () = redis::cmd("DEL")
            .arg(key)
            .query_async(connection)
            .await
            .unwrap();
    }
}

async fn run(socket: &Path, schedule: u64) {
    let mut random = StdRng::seed_from_u64(schedule);
    // Every other schedule has none, and the others have some or many.
    let faults = *[0, 5, 0, 20].choose(&mut random).expect("one");
    let mut table = Table::default();
    table.note(0);
    let mut clock = Clock {
        start: Instant::now() + Duration::from_secs(3_600),
        ms: 0,
    };
    let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut copy = Vec::new();
    let mut all: Vec<Instance> = (0..INSTANCES)
        .map(|index| Instance::start(socket, schedule, index, &mut table))
        .collect();
    for _ in 0..STEPS {
        let index = random.random_range(0..INSTANCES);
        let one = &mut all[index];
        one.at(&clock);
        match random.random_range(0..1_000) {
            0..60 => one.send(&mut random, &mut table, &clock),
            60..120 => one.land(&mut table, &clock),
            120..190 => one.tell(),
            // As a rule all three are over in no time.
            190..340 => {
                one.send(&mut random, &mut table, &clock);
                one.land(&mut table, &clock);
                one.tell();
            }
            340..440 => one.round(&clock).await,
            440..690 => {
                let some = random.random_range(0..PAIRS);
                let some = [some, random.random_range(0..PAIRS)];
                one.read(&some, &table, &clock).await;
            }
            690..790 => one.fill().await,
            790..820 => one.change(&mut random, &mut table, &clock).await,
            820..826 => all[index] = Instance::start(socket, schedule, index, &mut table),
            fault @ 830..850 if fault - 830 < faults => match fault % 4 {
                0 => one.reaches = !one.reaches,
                1 => copy = copy_of(&mut connection).await,
                2 => set_back(&mut connection, &copy).await,
                _ => evict(&mut connection).await,
            },
            _ => clock.ms += random.random_range(0..150),
        }
    }
    settle(&mut all, &mut random, &mut table, &mut clock).await;
}

/// What is under way ends, everybody reaches the cache, and time passes: then all answers are what the table holds.
async fn settle(all: &mut [Instance], random: &mut StdRng, table: &mut Table, clock: &mut Clock) {
    for one in &mut *all {
        one.reaches = true;
        one.land(table, clock);
        while !one.untold.is_empty() {
            one.tell();
        }
        while one.change.is_some() {
            one.at(clock);
            one.change(random, table, clock).await;
        }
    }
    for _ in 0..12 {
        for one in &mut *all {
            one.at(clock);
            one.round(clock).await;
            one.read(&(0..PAIRS).collect::<Vec<_>>(), table, clock)
                .await;
            while !one.fills.is_empty() {
                one.fill().await;
            }
        }
        clock.ms += 200;
    }
}

#[tokio::test]
async fn no_answer_is_older_than_it_may_be() {
    let Some(server) = Server::start().await else {
        return;
    };
    let more = std::env::var(MORE).ok().and_then(|text| text.parse().ok());
    let schedules: u64 = more.unwrap_or(SCHEDULES);
    for schedule in 0..schedules {
        let ran = tokio::spawn({
            let socket = server.socket();
            async move { run(&socket, schedule).await }
        });
        ran.await
            .unwrap_or_else(|error| panic!("schedule {schedule}: {error}"));
    }
    let kept = KEPT.load(Ordering::Relaxed);
    println!("{schedules} schedules, {kept} pairs answered from the cache");
    assert!(
        kept > schedules,
        "the cache answered hardly anything: {kept}"
    );
}
