//! Readings that do not flow are seen from outside, and by both doors alike (P7).

use mysql_async::prelude::Queryable as _;
use sluicegate_proto::v1::{OpenStreamRequest, SensorBatch, sensor_service_server};
use tonic::{Code, server::NamedService, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::common::{
    alone_on_each_engine,
    database::Database,
    http, on_each_engine,
    readings::readings,
    service::{Service, open},
    until,
};

mod shared {
    use super::*;

    on_each_engine! {
        openings_of_one_locked_stream_are_in_nobody_elses_way,
        an_unknown_service_has_no_health,
    }
}

mod alone {
    use super::*;

    alone_on_each_engine! {
        a_lane_that_does_not_commit_is_not_ready_at_either_door,
        a_database_that_is_away_is_not_ready_at_either_door,
    }
}

struct Doors<'a> {
    service: &'a Service,
    health: HealthClient<Channel>,
}

impl<'a> Doors<'a> {
    async fn of(service: &'a Service) -> Self {
        let channel = Channel::from_shared(format!("http://{}", service.grpc)).expect("an address");
        let health = HealthClient::new(channel.connect().await.expect("connects"));
        Self { service, health }
    }

    /// Whether it is ready, which both doors have to say alike, and why not.
    async fn ready(&mut self) -> (bool, String) {
        let (status, readiness) = http::get(self.service.rest, "/readyz")
            .await
            .expect("answers");
        let mut statuses = Vec::new();
        for service in [
            "",
            <sensor_service_server::SensorServiceServer<()> as NamedService>::NAME,
        ] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = self.health.check(request).await.expect("answers");
            statuses.push(answer.into_inner().status());
        }
        let ready = readiness["ready"].as_bool().expect("a word");
        assert_eq!(status, if ready { 200 } else { 503 });
        let reasons = readiness["reasons"].as_array().expect("a list");
        assert_eq!(reasons.is_empty(), ready, "{readiness}");
        let expected = match ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        assert_eq!(statuses, [expected; 2], "{readiness}");
        (ready, readiness["reasons"].to_string())
    }

    async fn until_ready(&mut self, expected: bool) -> String {
        let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            // Between the two questions it may change, which `ready` takes for a disagreement: not while it stays so.
            let (_, readiness) = http::get(self.service.rest, "/readyz")
                .await
                .expect("answers");
            if readiness["ready"] == expected {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                let (ready, reasons) = self.ready().await;
                assert_eq!(ready, expected, "{reasons}");
                return reasons;
            }
            assert!(tokio::time::Instant::now() < limit, "{readiness}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

async fn a_lane_that_does_not_commit_is_not_ready_at_either_door(database: Database) {
    let max_lag = |settings: &mut sluicegate::config::Settings| {
        settings.ready.max_lag = Some("1s".parse().expect("a span"));
    };
    let service = Service::start_with(&database, max_lag).await;
    let mut doors = Doors::of(&service).await;
    assert_eq!(doors.ready().await, (true, "[]".to_owned()));
    let mut other = database.connect().await;
    other
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locked");
    let mut client = service.client().await;
    let batch = SensorBatch {
        readings: readings(1..11),
        position: None,
    };
    let sending = tokio::spawn(async move { client.send_sensor_batch(batch).await });
    let reasons = doors.until_ready(false).await;
    assert!(
        reasons.contains("lane ") && reasons.contains("ready.max_lag"),
        "{reasons}"
    );
    other.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let stored = sending.await.expect("no panic").expect("stored");
    assert_eq!(stored.into_inner().committed, 10);
    doors.until_ready(true).await;
    service.close().await;
}

async fn a_database_that_is_away_is_not_ready_at_either_door(database: Database) {
    let service = Service::start(&database).await;
    let mut doors = Doors::of(&service).await;
    database.server.kill().await;
    let reasons = doors.until_ready(false).await;
    assert!(reasons.contains("not reachable"), "{reasons}");
    database.server.restart().await;
    doors.until_ready(true).await;
    service.close().await;
}

async fn an_unknown_service_has_no_health(database: Database) {
    let service = Service::start(&database).await;
    let mut doors = Doors::of(&service).await;
    let request = HealthCheckRequest {
        service: "sluicegate.v9.SensorService".to_owned(),
    };
    let refused = doors.health.check(request.clone()).await;
    let refused = refused.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound);
    let mut watching = doors
        .health
        .watch(request)
        .await
        .expect("begins")
        .into_inner();
    let first = watching.message().await.expect("no error").expect("open");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    drop(watching);
    service.close().await;
}

async fn openings_of_one_locked_stream_are_in_nobody_elses_way(database: Database) {
    let service = Service::start(&database).await;
    service.open("locked").await;
    let mut other = database.connect().await;
    let lock = "SELECT * FROM ingest_streams WHERE stream_id = 'locked' FOR UPDATE";
    other.query_drop("START TRANSACTION").await.expect("begun");
    other.query_drop(lock).await.expect("locked");
    let request = OpenStreamRequest {
        stream_id: "locked".to_owned(),
        resume: None,
    };
    // More than there are connections for the ledger; half of them by callers that leave.
    let mut waiting = Vec::new();
    for number in 0..24 {
        let (mut client, request) = (service.client().await, request.clone());
        let opening = tokio::spawn(async move { client.open_stream(request).await });
        match number % 2 {
            0 => waiting.push(opening),
            _ => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                opening.abort();
            }
        }
    }
    let in_database = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
         WHERE DB = '{}' AND INFO LIKE '%INSERT INTO ingest_streams%' AND ID <> CONNECTION_ID()",
        database.name()
    );
    let mut asking = database.connect().await;
    until("one waits for the row", async || {
        let mut conn = database.connect().await;
        conn.query_first(&in_database).await.expect("asks") == Some(1_u64)
    })
    .await;
    let mut doors = Doors::of(&service).await;
    assert!(doors.ready().await.0);
    for number in 0..12 {
        open(&mut service.client().await, &format!("free-{number}")).await;
        let found: Option<u64> = asking.query_first(&in_database).await.expect("asks");
        assert!(found <= Some(1), "{found:?} wait in the database");
    }
    other.query_drop("ROLLBACK").await.expect("unlocked");
    let mut epochs = Vec::new();
    for opening in waiting {
        let opened = opening.await.expect("no panic").expect("opened");
        epochs.push(opened.into_inner().epoch);
    }
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 12, "each has its own: {epochs:?}");
    service.close().await;
}
