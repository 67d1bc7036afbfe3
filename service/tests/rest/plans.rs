//! Every statement behind a route and behind the partition manager, as the database plans it: the index that is meant,
//! and the partitions that may hold what is asked for. The statements are taken from the server's own log, not built by
//! the test.

use std::time::Duration;

use mysql_async::{Conn, Row, prelude::Queryable as _};
use reqwest::Method;
use serde_json::json;
use sluicegate::{
    embedded_db::Engine,
    model::SeriesBounds,
    repository::mysql::{Access, DatabaseSettings, Layout, MySqlStorage, PartitionPass, TlsFiles},
};
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{alone_on_each_engine, database::Database, service::Service},
    sample::{LAYOUTS, START_S, store},
};

alone_on_each_engine! {
    every_query_uses_its_index_and_only_the_partitions_it_needs,
    the_partition_manager_asks_by_the_index_of_time,
}

/// Ten partitions of a minute each, then the catch-all.
const MINUTES: i64 = 10;
const PER_MINUTE: i64 = 3_000;

/// Fifty readings a second of a hundred series, over ten minutes. Fewer would be less than it takes to look for some of them.
fn readings() -> Vec<SensorReading> {
    let reading = |n: i64| SensorReading {
        sensor_value: Some(n as f64),
        sensor_type: "temperature".to_owned(),
        id1: (n % 10) as i32,
        id2: format!("s{}", n % 100),
        timestamp_us: Some((START_S + n * 60 / PER_MINUTE) * 1_000_000),
    };
    (0..MINUTES * PER_MINUTE).map(reading).collect()
}

/// What holds the readings.
fn table(layout: Layout) -> &'static str {
    match layout {
        Layout::Seed | Layout::Partitioned | Layout::Hashed => "sensor_readings",
        Layout::Series => "readings",
    }
}

async fn divide(database: &Database, layout: Layout) {
    let minute = |n: i64| {
        let at = chrono::DateTime::from_timestamp(START_S + n * 60, 0).expect("a time");
        format!(
            "PARTITION m{n} VALUES LESS THAN ('{}')",
            at.format("%Y-%m-%d %H:%M:%S")
        )
    };
    let minutes: Vec<_> = (1..=MINUTES).map(minute).collect();
    let sql = format!(
        "ALTER TABLE {} REORGANIZE PARTITION p_rest INTO ({}, PARTITION p_rest VALUES LESS THAN (MAXVALUE))",
        table(layout),
        minutes.join(", ")
    );
    database.run(&sql).await;
}

/// What the database says of a statement.
#[derive(Debug)]
struct Plan {
    kind: String,
    key: Option<String>,
    partitions: Option<String>,
    extra: String,
}

/// The statements over the readings that the service sends while `asking`: "Execute" for prepared ones, "Query" for others.
pub(crate) async fn logged(
    conn: &mut Conn,
    kind: &str,
    asking: impl Future<Output = ()>,
) -> Vec<String> {
    conn.query_drop("TRUNCATE mysql.general_log")
        .await
        .expect("empties");
    conn.query_drop("SET GLOBAL general_log = 1")
        .await
        .expect("logs");
    asking.await;
    conn.query_drop("SET GLOBAL general_log = 0")
        .await
        .expect("ends");
    let sql = "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
               WHERE command_type = ? AND argument LIKE '% %readings%' AND argument NOT LIKE 'EXPLAIN%'";
    conn.exec(sql, (kind,)).await.expect("reads")
}

/// How the database gets at the readings, for each place where the statement has them.
async fn plans(conn: &mut Conn, engine: Engine, layout: Layout, sql: &str) -> Vec<Plan> {
    let explain = match engine {
        Engine::MariaDb => "EXPLAIN PARTITIONS",
        Engine::MySql => "EXPLAIN FORMAT=TRADITIONAL",
    };
    let rows: Vec<Row> = conn.query(format!("{explain} {sql}")).await.expect("plans");
    let plan = |row: &Row| {
        let column = |name: &str| row.get::<Option<String>, _>(name).expect("a column");
        let of = column("table");
        // A statement that finds nothing has no table.
        let is_of_readings = of.is_none_or(|of| of == table(layout));
        is_of_readings.then(|| Plan {
            kind: column("type").unwrap_or_default(),
            key: column("key"),
            partitions: column("partitions").map(|names| without_subpartitions(&names)),
            extra: column("Extra").unwrap_or_default(),
        })
    };
    let plans: Vec<Plan> = rows.iter().filter_map(plan).collect();
    assert!(!plans.is_empty(), "{sql}");
    plans
}

/// The partitions of a plan, which names each subpartition as `NAME_NAMEspN`.
fn without_subpartitions(names: &str) -> String {
    let partition = |name| match str::rsplit_once(name, "sp") {
        Some((twice, _)) => &twice[..twice.len() / 2],
        None => name,
    };
    let mut found: Vec<&str> = names.split(',').map(partition).collect();
    found.dedup();
    found.join(",")
}

/// A request, what it may look at, and whether by pair.
struct Case {
    method: Method,
    path: String,
    /// Partitions that hold the range of time; None for all of them.
    partitions: Option<&'static str>,
    by_pair: bool,
    /// Buckets are gathered in a temporary table and sorted; pages never are.
    gathers: bool,
}

fn cases() -> Vec<Case> {
    let at = |second: i64| (START_S + second) * 1_000;
    // From the middle of the third minute to the middle of the fourth.
    let some = format!("from_time={}&to_time={}", at(150), at(210));
    let pairs = "id1=3,7&id2=s13,s77";
    let two = Some("m3,m4");
    let case = |method: &Method, path: String, partitions, by_pair| Case {
        method: method.clone(),
        gathers: path.contains("aggregate"),
        path,
        partitions,
        by_pair,
    };
    let get = &Method::GET;
    let mut cases = vec![
        case(get, format!("/sensor/time?{some}&limit=50"), two, false),
        case(
            get,
            format!("/sensor/time?{some}&limit=50&order=desc"),
            two,
            false,
        ),
        case(get, format!("/sensor/time?{some}&format=csv"), two, false),
        case(
            get,
            format!("/sensor/time?{some}&sensor_type=temperature"),
            two,
            false,
        ),
        case(get, format!("/sensor/ids?{pairs}"), None, true),
        case(
            get,
            format!("/sensor/ids?{pairs}&order=desc&limit=5"),
            None,
            true,
        ),
        case(get, format!("/sensor/ids-time?{some}&{pairs}"), two, true),
        case(
            get,
            format!("/sensor/ids-time?{some}&{pairs}&order=desc&limit=1"),
            two,
            true,
        ),
        case(get, format!("/sensor/latest?{pairs}"), None, true),
        case(
            get,
            format!("/sensor/aggregate?{some}&bucket=10s&limit=7"),
            two,
            false,
        ),
        case(
            get,
            format!("/sensor/aggregate?{some}&{pairs}&bucket=10s"),
            two,
            true,
        ),
    ];
    for (method, verb) in [(Method::PUT, "update"), (Method::DELETE, "delete")] {
        for dry in ["&dry_run=true", ""] {
            let path =
                |route: &str, selection: &str| format!("/sensor/{verb}/{route}?{selection}{dry}");
            cases.push(case(
                &method,
                path("ids-time", &format!("{some}&{pairs}")),
                two,
                true,
            ));
            cases.push(case(&method, path("time", &some), two, false));
            cases.push(case(&method, path("ids", "id1=5&id2=s5"), None, true));
        }
    }
    cases
}

/// Sends the request, and where there is a next page, the request for that.
async fn ask(api: &Api, case: &Case) {
    let request = || {
        let request = api.request(case.method.clone(), &case.path);
        match case.method {
            Method::PUT => request.json(&json!({"sensor_value": 1.0})),
            _ => request,
        }
    };
    let answer = api.send(request()).await;
    assert_eq!(answer.status, 200, "{}", case.path);
    if answer.header("content-type") != "application/json" {
        return;
    }
    if let Some(cursor) = answer.json()["next_cursor"].as_str() {
        let next = api.get(&format!("{}&cursor={cursor}", case.path)).await;
        assert_ne!(next.json()["count"], 0);
    }
}

fn index(layout: Layout, by_pair: bool) -> &'static str {
    match (layout, by_pair) {
        (Layout::Seed, false) => "by_time",
        (Layout::Partitioned | Layout::Hashed | Layout::Series, false) => "PRIMARY",
        (Layout::Series, true) => "by_series_time",
        (Layout::Hashed, true) => "by_hash_time",
        (Layout::Seed | Layout::Partitioned, true) => "by_ids_time",
    }
}

/// A service over the readings, in a schema of that layout.
async fn filled(schema: &Database, layout: Layout) -> Service {
    let service = Service::start_with(schema, |settings| {
        settings.layout = Some(layout);
        settings.partitions.enabled = Some(false);
    })
    .await;
    if layout != Layout::Seed {
        divide(schema, layout).await;
    }
    store(&service, "sample", readings()).await;
    let _: Vec<Row> = schema
        .connect()
        .await
        .query(format!("ANALYZE TABLE {}", table(layout)))
        .await
        .expect("analyses");
    service
}

async fn log_to_table(database: &Database) {
    database.run("SET GLOBAL log_output = 'TABLE'").await;
}

async fn every_query_uses_its_index_and_only_the_partitions_it_needs(database: Database) {
    log_to_table(&database).await;
    for layout in LAYOUTS {
        let schema = database.server.schema().await;
        let service = filled(&schema, layout).await;
        assert_plans(&schema, layout, &service).await;
        service.close_after_deletes().await;
    }
}

/// By itself, MySQL may sort all readings by way of another index to find the first behind a point in time. It does so
/// on large tables now and then, and here because it is asked not to prefer an index that is in order.
async fn the_partition_manager_asks_by_the_index_of_time(database: Database) {
    log_to_table(&database).await;
    let mut log = database.connect().await;
    for layout in [Layout::Partitioned, Layout::Hashed, Layout::Series] {
        let schema = database.server.schema().await;
        let service = filled(&schema, layout).await;
        let storage = storage(&schema).await;
        let partitions = storage.partitions().expect("it has partitions");
        let pass = partitions.begin().await.expect("begins");
        let mut pass = pass.expect("nobody else has the lock");
        let statements = logged(&mut log, "Query", ask_as_manager(&mut pass)).await;
        pass.end().await;
        storage.close().await;
        assert_eq!(statements.len(), 4, "{statements:?}");
        let mut conn = schema.connect().await;
        if database.engine() == Engine::MySql {
            let sql = "SET SESSION optimizer_switch = 'prefer_ordering_index=off'";
            conn.query_drop(sql).await.expect("sets");
        }
        for sql in statements {
            for plan in plans(&mut conn, database.engine(), layout, &sql).await {
                let what = format!("{layout:?}: {plan:?} of {sql}");
                assert_eq!(plan.key.as_deref(), Some(index(layout, false)), "{what}");
                assert!(!plan.extra.contains("filesort"), "{what}");
            }
        }
        service.close().await;
    }
}

async fn storage(database: &Database) -> MySqlStorage {
    let settings = DatabaseSettings {
        access: Access::of(database.url(), TlsFiles::default(), false),
        manage: None,
        statement_limit: Duration::from_secs(60),
        series_cache_bytes: 1 << 20,
        series_bounds: SeriesBounds {
            max: u32::MAX,
            new_per_hour: u32::MAX,
        },
        connect_deadline: Duration::from_secs(10),
        wanted_layout: None,
        table: None,
        columns: Default::default(),
        instance: "test".to_owned(),
        awaits: Default::default(),
        metrics: Default::default(),
    };
    MySqlStorage::open(&settings).await.expect("opens")
}

/// Asks all that the partition manager asks of the readings, but for their number.
async fn ask_as_manager(pass: &mut PartitionPass) {
    let middle_us = (START_S + 30 * MINUTES) * 1_000_000;
    for newer in [0, 9] {
        let newest = pass.newest_before(middle_us, newer).await;
        assert!(newest.expect("asks").is_some_and(|at_us| at_us < middle_us));
    }
    let next = pass.oldest_from(Some(middle_us)).await.expect("asks");
    assert_eq!(next, Some(middle_us));
    let first = pass.oldest_from(None).await.expect("asks");
    assert_eq!(first, Some(START_S * 1_000_000));
}

async fn assert_plans(database: &Database, layout: Layout, service: &Service) {
    let api = Api::of(service);
    let mut conn = database.connect().await;
    for case in cases() {
        let statements = logged(&mut conn, "Execute", ask(&api, &case)).await;
        let mut planned = 0;
        for sql in statements {
            // What was deleted counts until the server has cleaned up: then all that is left seems to be selected.
            let engine = database.engine();
            let mut found = plans(&mut conn, engine, layout, &sql).await;
            for _bounded in 0..40 {
                if case.method != Method::DELETE || found.iter().all(|plan| plan.kind != "ALL") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
                found = plans(&mut conn, engine, layout, &sql).await;
            }
            for plan in found {
                let what = format!(
                    "{layout:?} {} {}: {plan:?} of {sql}",
                    case.method, case.path
                );
                planned += u32::from(assert_plan(&plan, layout, &case, &what));
            }
        }
        assert_ne!(planned, 0, "{layout:?} {}: no statement", case.path);
    }
}

/// False for the end of a walk: nothing lies behind the last key, and the database sees that without a look.
fn assert_plan(plan: &Plan, layout: Layout, case: &Case, what: &str) -> bool {
    let nothing = ["Impossible WHERE", "no matching row"];
    if plan.key.is_none()
        && (plan.kind.is_empty() || nothing.iter().any(|it| plan.extra.contains(it)))
    {
        return false;
    }
    // A range or a place in the index, never all of it.
    assert!(
        ["range", "ref", "const", "eq_ref"].contains(&plan.kind.as_str()),
        "{what}"
    );
    assert_eq!(
        plan.key.as_deref(),
        Some(index(layout, case.by_pair)),
        "{what}"
    );
    let sorts = plan.extra.contains("filesort") || plan.extra.contains("temporary");
    assert!(case.gathers || !sorts, "{what}");
    match (layout, case.partitions) {
        (Layout::Seed, _) => assert_eq!(plan.partitions, None, "{what}"),
        (_, None) => assert!(plan.partitions.is_some(), "{what}"),
        (_, Some(expected)) => {
            // What lies behind a cursor or a stretch of a change may be in fewer.
            let partitions = plan.partitions.clone().unwrap_or_default();
            assert!(
                expected.contains(&partitions) && !partitions.is_empty(),
                "{what}"
            );
        }
    }
    true
}
