//! `/metrics`: what it says is what has happened, and the table in `docs/metrics.md` says all that it says.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorBatch;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::command,
        readings::{header, reading, readings, resume, rows},
        service::{AckedCall, Service},
        until,
    },
    sample::service,
};

on_each_engine! {
    every_figure_is_in_the_table_of_the_docs,
    calls_requests_and_acknowledgements_are_counted_by_what_they_were,
    what_is_open_is_counted_until_it_is_closed,
    a_load_that_is_refused_shows_by_what_that_means,
    the_service_says_that_it_is_not_ready_here_too,
    open_metrics_is_for_those_who_ask_for_it,
    pools_tell_who_uses_them_and_who_waits,
    what_lies_in_quarantine_is_counted,
    the_program_says_which_one_it_is,
}

/// Samples by their name and labels, as they stand on the page.
struct Page(BTreeMap<String, f64>);

impl Page {
    async fn of(api: &Api) -> Self {
        let page = api.get("/metrics").await;
        let samples = page.text().lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Self(samples.map(sample).collect())
    }

    fn get(&self, name: &str) -> f64 {
        let found = self.0.get(name).copied();
        found.unwrap_or_else(|| panic!("{name} is not among {:#?}", self.0.keys()))
    }
}

/// A service that every door of has been used.
async fn used(database: &Database) -> (Service, Api) {
    let (_, service) = service(database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let mut client = service.client().await;
    let sent = client.send_sensor_reading(reading(1)).await;
    assert_eq!(sent.expect("stored").into_inner().committed, 1);
    let batch = SensorBatch {
        readings: readings(2..12),
        position: None,
    };
    let sent = client.send_sensor_batch(batch).await.expect("stored");
    assert_eq!(sent.into_inner().committed, 10);
    let streamed = tokio_stream::iter([rows(readings(12..112))]);
    let streamed = client.stream_readings(streamed).await.expect("stored");
    assert_eq!(streamed.into_inner().committed, 100);
    let at = service.open("measured").await;
    let mut call = AckedCall::resume(&mut client, "measured", &at).await;
    call.send(rows(readings(112..212))).await;
    call.until_acked(100).await;
    drop(call);
    assert_eq!(api.get("/sensor/latest?id1=1&id2=none").await.status, 200);
    assert_eq!(
        api.send_any(api.request(Method::GET, "/no/such/path"))
            .await
            .status,
        404
    );
    (service, api)
}

async fn every_figure_is_in_the_table_of_the_docs(database: Database) {
    let (service, api) = used(&database).await;
    let request = api.request(Method::GET, "/metrics");
    let page = api.send_any(request.header("accept", OPEN_METRICS)).await;
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut family = String::new();
    for line in page.text().lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').expect("a type");
            family = match kind {
                "counter" => format!("{name}_total"),
                _ => name.to_owned(),
            };
            let before = found.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
            assert_eq!(before, None, "{name} is there twice");
        }
        if let Some((_, labels)) = line.split_once('{') {
            let names = labels.split(['{', ',']).filter_map(|label| {
                let (name, _) = label.split_once("=\"")?;
                (name != "le").then(|| name.to_owned())
            });
            found.get_mut(&family).expect("typed").1.extend(names);
        }
    }
    let documented: BTreeMap<_, _> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split(" | ").collect::<Vec<_>>())
        // The table of the service's figures, and no other.
        .filter(|cells| cells.len() == 4 && !cells[0].starts_with("sluicegen_"))
        .map(|cells| {
            let labels = cells[2].split(", ").filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.trim_matches('`').to_owned());
            let name = cells[0].trim_end_matches('`').to_owned();
            (name, (cells[1].to_owned(), labels.collect()))
        })
        .collect();
    assert!(documented.len() > 40, "{documented:?}");
    for (name, figure) in &found {
        assert_eq!(Some(figure), documented.get(name), "{name} in the docs");
    }
    for name in documented.keys() {
        assert!(found.contains_key(name), "the service has no {name}");
    }
    service.close().await;
}

async fn calls_requests_and_acknowledgements_are_counted_by_what_they_were(database: Database) {
    let (service, api) = used(&database).await;
    // A stream of which another writer is the rightful one.
    let at = service.open("fenced").await;
    service.open("fenced").await;
    let fenced = tokio_stream::iter([resume("fenced", &at), rows(readings(1..2))]);
    let refused = service.client().await.stream_readings(fenced).await;
    assert_eq!(refused.expect_err("fenced").code(), tonic::Code::Aborted);
    until("the calls have ended", async || {
        Page::of(&api).await.get("sluicegate_grpc_open_calls") == 0.0
    })
    .await;
    let page = Page::of(&api).await;
    for (door, acknowledged) in [
        ("unary", 1.0),
        ("batch", 1.0),
        ("stream", 1.0),
        ("stream-acked", 1.0),
    ] {
        let name = format!("sluicegate_acknowledgement_seconds_count{{door=\"{door}\"}}");
        assert_eq!(page.get(&name), acknowledged, "{door}");
    }
    for (method, code, calls) in [
        ("SendSensorReading", "OK", 1.0),
        ("SendSensorBatch", "OK", 1.0),
        ("StreamReadings", "OK", 1.0),
        ("StreamReadings", "ABORTED", 1.0),
        ("OpenStream", "OK", 3.0),
    ] {
        let labels = format!("{{method=\"{method}\",code=\"{code}\"}}");
        let name = format!("sluicegate_grpc_calls_total{labels}");
        assert_eq!(page.get(&name), calls, "{labels}");
    }
    for (route, status) in [("/sensor/latest", 200), ("none", 404)] {
        let labels = format!("{{method=\"GET\",route=\"{route}\",status=\"{status}\"}}");
        let name = format!("sluicegate_rest_requests_total{labels}");
        assert_eq!(page.get(&name), 1.0, "{labels}");
    }
    assert_eq!(page.get("sluicegate_streams_opened_total"), 3.0);
    assert_eq!(page.get("sluicegate_streams_fenced_total"), 1.0);
    assert_eq!(page.get("sluicegate_readings_committed_total"), 211.0);
    let loads = page.get("sluicegate_load_seconds_count");
    assert_eq!(page.get("sluicegate_commit_seconds_count"), loads);
    assert_eq!(page.get("sluicegate_batches_committed_total"), loads);
    assert_eq!(page.get("sluicegate_batch_readings_sum"), 211.0);
    assert_eq!(page.get("sluicegate_ready"), 1.0);
    assert_eq!(page.get("sluicegate_database_up"), 1.0);
    let busy: f64 = (0..3)
        .map(|lane| format!("sluicegate_lane_loading_seconds_total{{lane=\"{lane}\"}}"))
        .map(|name| page.get(&name))
        .sum();
    assert!(busy > 0.0);
    assert!(page.get("process_resident_memory_bytes") > 1e6);
    assert!(page.get("process_open_fds") < page.get("process_max_fds"));
    service.close().await;
}

async fn what_is_open_is_counted_until_it_is_closed(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let open = async |calls: f64, connections: f64| {
        until("they are counted", async || {
            let page = Page::of(&api).await;
            let found = ["open_calls", "connections"]
                .map(|name| page.get(&format!("sluicegate_grpc_{name}")));
            found == [calls, connections]
        })
        .await;
    };
    open(0.0, 0.0).await;
    let mut client = service.client().await;
    open(0.0, 1.0).await;
    let call = AckedCall::begin(&mut client, header("open", 1, 1)).await;
    drop(call);
    let waiting = AckedCall::begin(&mut client, rows(readings(1..2))).await;
    open(1.0, 1.0).await;
    drop(waiting);
    open(0.0, 1.0).await;
    drop(client);
    open(0.0, 0.0).await;
    let page = Page::of(&api).await;
    let cancelled =
        "sluicegate_grpc_calls_total{method=\"StreamReadingsAcked\",code=\"CANCELLED\"}";
    assert!(page.get(cancelled) >= 1.0);
    service.close().await;
}

async fn a_load_that_is_refused_shows_by_what_that_means(database: Database) {
    let (database, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let away = "ALTER TABLE sensor_readings RENAME TO put_away";
    database.run(away).await;
    let mut client = service.client().await;
    let sending = tokio::spawn(async move { client.send_sensor_reading(reading(1)).await });
    until("it is counted", async || {
        let page = Page::of(&api).await;
        page.get("sluicegate_loads_refused_total{refusal=\"of_the_table\"}") >= 1.0
            && page.get("sluicegate_load_retries_total") >= 1.0
    })
    .await;
    let attempts = |page: &Page| -> f64 {
        (0..3)
            .map(|lane| format!("sluicegate_lane_load_attempts{{lane=\"{lane}\"}}"))
            .map(|name| page.get(&name))
            .sum()
    };
    assert!(attempts(&Page::of(&api).await) >= 1.0);
    let back = "ALTER TABLE put_away RENAME TO sensor_readings";
    database.run(back).await;
    sending.await.expect("no panic").expect("stored after all");
    until("the lane rests", async || {
        attempts(&Page::of(&api).await) == 0.0
    })
    .await;
    service.close().await;
}

async fn the_service_says_that_it_is_not_ready_here_too(database: Database) {
    let (database, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    assert_eq!(Page::of(&api).await.get("sluicegate_ready"), 1.0);
    let mut holder = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    holder.query_drop(lock).await.expect("locked");
    let mut client = service.client().await;
    let sending = tokio::spawn(async move { client.send_sensor_reading(reading(1)).await });
    until("it is in flight", async || {
        service.figure("in_flight").await == 1
    })
    .await;
    service.shutdown.draining.cancel();
    let page = Page::of(&api).await;
    assert_eq!(page.get("sluicegate_ready"), 0.0);
    assert_eq!(page.get("sluicegate_draining"), 1.0);
    holder.query_drop("UNLOCK TABLES").await.expect("unlocked");
    sending.await.expect("no panic").expect("stored");
    assert!(service.stopped().await.is_ok());
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

async fn open_metrics_is_for_those_who_ask_for_it(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let text = api.get("/metrics").await;
    assert_eq!(
        text.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(!text.text().contains("# EOF"));
    let counter = "\n# TYPE sluicegate_readings_received_total counter\nsluicegate_readings_received_total 0\n";
    assert!(text.text().contains(counter), "{}", text.text());
    let request = api.request(Method::GET, "/metrics");
    let open = api.send_any(request.header("accept", OPEN_METRICS)).await;
    assert_eq!(
        open.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.text().ends_with("\n# EOF\n"));
    service.close().await;
}

async fn pools_tell_who_uses_them_and_who_waits(database: Database) {
    let (database, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let of_changes = |page: &Page, name: &str| {
        page.get(&format!(
            "sluicegate_database_pool_{name}{{pool=\"changes\"}}"
        ))
    };
    let page = Page::of(&api).await;
    let limit = of_changes(&page, "limit");
    assert_eq!(limit, 4.0);
    assert_eq!(of_changes(&page, "connections"), 0.0);
    let mut holder = database.connect().await;
    let lock = "LOCK TABLES sensor_readings WRITE";
    holder.query_drop(lock).await.expect("locked");
    let deletes: Vec<_> = (0..6)
        .map(|_| {
            let api = Api::of(&service);
            tokio::spawn(async move {
                let path = "/sensor/delete/ids?id1=1&id2=none";
                // One that waited for too long is told to come again.
                api.send_any(api.request(Method::DELETE, path)).await
            })
        })
        .collect();
    until("four deletes have connections, and two wait", async || {
        let page = Page::of(&api).await;
        of_changes(&page, "connections") == limit && of_changes(&page, "waiting") == 2.0
    })
    .await;
    assert_eq!(of_changes(&Page::of(&api).await, "idle_connections"), 0.0);
    holder.query_drop("UNLOCK TABLES").await.expect("unlocked");
    for delete in deletes {
        delete.await.expect("no panic");
    }
    until("the connections are idle", async || {
        let page = Page::of(&api).await;
        of_changes(&page, "idle_connections") >= 1.0 && of_changes(&page, "waiting") == 0.0
    })
    .await;
    service.close().await;
}

async fn what_lies_in_quarantine_is_counted(database: Database) {
    let (database, first) = service(&database, Layout::Partitioned).await;
    let mut batch = SensorBatch {
        readings: readings(1..8),
        position: None,
    };
    for reading in &mut batch.readings[2..] {
        reading.sensor_value = Some(f64::NAN);
    }
    let sent = first.client().await.send_sensor_batch(batch).await;
    assert_eq!(sent.expect("answered").into_inner().rejected, 5);
    first.close().await;
    // The next one looks at once.
    let second = Service::start(&database).await;
    let api = Api::of(&second);
    let count = async || Page::of(&api).await.get("sluicegate_quarantine_readings");
    until("they are counted", async || count().await == 5.0).await;
    database.run("DELETE FROM rejected_readings").await;
    until("they are gone", async || count().await == 0.0).await;
    second.close_after_deletes().await;
}

async fn the_program_says_which_one_it_is(database: Database) {
    use sluicegate::build_info::{COMMIT, VERSION};
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let version = api.get("/version").await.json();
    assert_eq!(
        (&version["version"], &version["commit"]),
        (&VERSION.into(), &COMMIT.into())
    );
    let name = format!("sluicegate_build_info{{version=\"{VERSION}\",commit=\"{COMMIT}\"}}");
    assert_eq!(Page::of(&api).await.get(&name), 1.0);
    let mut command = command(&["--version"]);
    let output = command.stdout(std::process::Stdio::piped()).output().await;
    let printed = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    assert_eq!(printed, format!("sluicegate {VERSION} (commit {COMMIT})\n"));
    service.close().await;
}
