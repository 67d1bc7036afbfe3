//! What `/readyz` says while the database is away, while readings wait, and while the service goes down.

use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use serde_json::Value;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorBatch;

use crate::{
    api::{Answer, Api},
    common::{alone_on_each_engine, database::Database, on_each_engine, service::Service, until},
    sample::{LAYOUTS, filled, readings, service},
};

mod shared {
    use super::*;

    on_each_engine! {
        readiness_tells_of_the_table_and_the_durability,
        a_reading_that_waits_shows_as_lag,
        a_draining_service_says_so_until_it_has_drained,
    }
}

mod alone {
    use super::*;

    alone_on_each_engine! {
        a_database_that_is_away_is_told_of_and_comes_back,
        an_acknowledgement_that_is_less_than_durable_is_told_of,
    }
}

async fn ready(api: &Api) -> (u16, Value) {
    let request = api.client.get(api.base.clone() + "/readyz").send();
    let answer = request.await.expect("answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

async fn readiness_tells_of_the_table_and_the_durability(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        let (status, readiness) = ready(&api).await;
        assert_eq!(status, 200);
        for (name, value) in [("ready", true), ("database", true), ("draining", false)] {
            assert_eq!(readiness[name], value, "{readiness}");
        }
        assert_eq!(readiness["lag_ms"], 0);
        assert_eq!(readiness["in_flight_bytes"], 0);
        assert_eq!(readiness["books"]["committed"], 420);
        let storage = &readiness["storage"];
        assert_eq!(storage["layout"], format!("{layout:?}").to_lowercase());
        assert_eq!(storage["durability"], "full");
        let decimals = if layout == Layout::Seed { 0 } else { 6 };
        assert_eq!(storage["timestamp_decimals"], decimals);
        assert_eq!(readiness["partitions"].is_object(), layout != Layout::Seed);
        let metrics = api.get("/metrics").await;
        let managed = metrics.text().contains("\nsluicegate_partitions_ahead ");
        assert_eq!(managed, layout != Layout::Seed);
        service.close().await;
    }
}

/// Sends a reading that cannot be stored until the table is let go.
async fn held_up(
    database: &Database,
    service: &Service,
) -> (mysql_async::Conn, tokio::task::JoinHandle<u64>) {
    let mut holder = database.connect().await;
    holder
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locks");
    let mut client = service.client().await;
    let sending = tokio::spawn(async move {
        let batch = SensorBatch {
            readings: readings(),
            position: None,
        };
        let reply = client.send_sensor_batch(batch).await;
        reply.expect("stored").into_inner().committed
    });
    until("the readings wait", || async {
        service.figure("in_flight").await == 420
    })
    .await;
    (holder, sending)
}

async fn a_reading_that_waits_shows_as_lag(database: Database) {
    let (database, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let (mut holder, sending) = held_up(&database, &service).await;
    until("it shows", || async {
        ready(&api).await.1["lag_ms"].as_u64() >= Some(300)
    })
    .await;
    let (status, readiness) = ready(&api).await;
    assert_eq!(status, 200, "it waits, and is taken all the same");
    assert!(readiness["in_flight_bytes"].as_u64() > Some(420 * 16));
    let metrics = api.get("/metrics").await;
    let lag = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("sluicegate_lag_seconds "));
    assert!(
        lag.and_then(|it| it.parse::<f64>().ok()) >= Some(0.3),
        "{lag:?}"
    );
    holder.query_drop("UNLOCK TABLES").await.expect("lets go");
    assert_eq!(sending.await.expect("no panic"), 420);
    until("nothing lags", || async {
        ready(&api).await.1["lag_ms"] == 0
    })
    .await;
    service.close().await;
}

async fn a_draining_service_says_so_until_it_has_drained(database: Database) {
    let (database, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let (mut holder, sending) = held_up(&database, &service).await;
    service.shutdown.draining.cancel();
    for _ in 0..3 {
        // By a new connection each time, as a probe has it.
        let api = Api::of(&service);
        let (status, readiness) = ready(&api).await;
        assert_eq!(status, 503);
        assert_eq!(
            (&readiness["ready"], &readiness["draining"]),
            (&false.into(), &true.into())
        );
        assert_eq!(readiness["books"]["in_flight"], 420);
        assert_eq!(api.get("/healthz").await.status, 200, "and it lives");
        let metrics = api.get("/metrics").await;
        assert!(metrics.text().contains("\nsluicegate_draining 1\n"));
    }
    holder.query_drop("UNLOCK TABLES").await.expect("lets go");
    assert_eq!(sending.await.expect("no panic"), 420);
    assert!(service.stopped().await.is_ok());
    let closed = api.client.get(api.base.clone() + "/readyz").send().await;
    assert!(closed.is_err_and(|error| error.is_connect()));
    database.assert_ledger_balances().await;
}

async fn a_database_that_is_away_is_told_of_and_comes_back(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    database.server.kill().await;
    let asked = [
        (
            Method::GET,
            "/sensor/time?from_time=0&to_time=9999999999999",
        ),
        (
            Method::GET,
            "/sensor/time?from_time=0&to_time=9999999999999&format=csv",
        ),
        (Method::GET, "/sensor/latest?id1=0&id2=A"),
        (
            Method::GET,
            "/sensor/aggregate?from_time=0&to_time=9999999999999&bucket=1d",
        ),
        (Method::DELETE, "/sensor/delete/ids?id1=0&id2=A"),
        (Method::GET, "/streams"),
        (Method::GET, "/streams/sample/rejections"),
        (Method::GET, "/rejections"),
    ];
    for (method, path) in &asked {
        let answer: Answer = api.send_any(api.request(method.clone(), path)).await;
        answer.problem(503, "database-unavailable", None);
        assert_eq!(answer.header("retry-after"), "1");
    }
    let (status, readiness) = ready(&api).await;
    assert_eq!(status, 503);
    assert_eq!(
        (&readiness["database"], &readiness["draining"]),
        (&false.into(), &false.into())
    );
    // What needs no database is answered all the same, and bad input is still that.
    for path in ["/healthz", "/metrics", "/version", "/openapi.json"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    let refused = api.get("/sensor/time").await;
    refused.problem(400, "missing-parameter", Some("from_time"));
    database.server.restart().await;
    until("it is ready again", || async { ready(&api).await.0 == 200 }).await;
    for (method, path) in &asked {
        let answer = api.send(api.request(method.clone(), path)).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    service.close_after_deletes().await;
}

async fn an_acknowledgement_that_is_less_than_durable_is_told_of(database: Database) {
    database
        .run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        .await;
    let (_, service) = service(&database, Layout::Partitioned).await;
    let (status, readiness) = ready(&Api::of(&service)).await;
    assert_eq!(status, 200);
    assert_eq!(readiness["storage"]["durability"], "process_crash");
    service.close().await;
}
