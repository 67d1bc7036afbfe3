//! The quarantine as a workplace: what was rejected is found, stored after all, or removed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sluicegate_decode::MappingSettings;
use sluicegate_proto::v1::SensorBatch;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        program::command,
        readings::position,
        service::{Service, take_any_time},
        tokens::Tokens,
    },
    intake::{LINE_PROTOCOL, send},
    sample::readings,
};

on_each_engine! {
    rejections_are_found_by_what_they_are,
    readings_are_stored_once_the_table_takes_them,
    payloads_are_decoded_by_the_mapping_of_today,
    a_value_or_a_record_comes_back_alone,
    what_cannot_be_stored_stays_and_is_told_why,
    times_that_are_not_taken_do_not_come_back_either,
    one_of_several_records_in_a_line_is_not_stored_again,
    a_trial_changes_nothing,
    two_replays_store_each_reading_once,
    rejections_are_removed_when_somebody_says_which,
    the_command_line_does_the_same,
}

/// Sends readings over gRPC, as the stream's next or anonymously, and returns how many are rejected.
async fn send_batch(
    service: &Service,
    stream: Option<&str>,
    change: impl Fn(&mut sluicegate_proto::v1::SensorReading),
) -> u64 {
    let mut readings: Vec<_> = readings().into_iter().take(3).collect();
    readings.iter_mut().for_each(change);
    let position = match stream {
        Some(stream) => {
            let at = service.open(stream).await;
            Some(position(stream, at.epoch, at.committed_seq + 1))
        }
        None => None,
    };
    let batch = SensorBatch { readings, position };
    let reply = service.client().await.send_sensor_batch(batch).await;
    reply.expect("answers").into_inner().rejected
}

async fn found(api: &Api, query: &str) -> Vec<u64> {
    let items = api
        .pages(&format!("/rejections?{query}"), "rejections", 2)
        .await;
    items
        .iter()
        .map(|it| it["id"].as_u64().expect("an id"))
        .collect()
}

async fn replay(api: &Api, query: &str) -> Value {
    let request = api.request(Method::POST, &format!("/rejections/replay?{query}"));
    api.send(request).await.json()
}

async fn rejections_are_found_by_what_they_are(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let api = Api::of(&service);
    let nan = |reading: &mut sluicegate_proto::v1::SensorReading| {
        reading.sensor_value = Some(f64::NAN);
    };
    assert_eq!(send_batch(&service, Some("gate"), nan).await, 3);
    assert_eq!(send_batch(&service, None, nan).await, 3);
    let long = |reading: &mut sluicegate_proto::v1::SensorReading| {
        reading.sensor_type = "x".repeat(60);
    };
    assert_eq!(send_batch(&service, Some("other"), long).await, 3);
    send(&api, LINE_PROTOCOL, "m t=hot 1\nm t=1 1\nm t=cold 1").await;
    for (query, expected) in [
        ("field=sensor_value", 8),
        ("field=sensor_value&stream=gate", 3),
        ("field=sensor_type", 3),
        ("field=id1", 0),
        ("reason=FINITE", 6),
        ("reason=than%2050%20characters", 3),
        ("origin=line", 2),
        ("origin=line%203", 1),
        ("origin=Line", 0),
        ("stream=gate", 3),
        ("stream=GATE", 0),
        ("anonymous=true", 5),
        ("anonymous=true&origin=line", 2),
        ("from_time=2020-01-01T00:00:00Z", 11),
        ("to_time=2020-01-01T00:00:00Z", 0),
        ("from_time=0&to_time=99999999999999", 11),
        ("from_time=999999999999999", 0),
        ("to_time=-99999999999999", 0),
    ] {
        assert_eq!(found(&api, query).await.len(), expected, "{query}");
    }
    let ids = found(&api, "").await;
    let some = format!("ids={},{},999999", ids[1], ids[7]);
    assert_eq!(found(&api, &some).await, [ids[1], ids[7]]);
    // An export has the same, all at once, and whole payloads.
    let exported = api
        .get("/rejections?field=sensor_value&format=ndjson")
        .await;
    let lines: Vec<Value> = exported
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[6]["payload"], "bSB0PWhvdCAx");
    assert_eq!(lines[6]["payload_bytes"], 9);
    let table = api.get("/rejections?origin=line&format=csv").await;
    let first = table.text().lines().next().expect("a line");
    assert!(
        first.starts_with("id,stream_id,seq,field,reason,id1"),
        "{first}"
    );
    assert_eq!(table.text().lines().count(), 3);
    for (query, kind, parameter) in [
        ("ids=x", "invalid-parameter", "ids"),
        ("ids=0", "invalid-parameter", "ids"),
        ("ids=", "invalid-parameter", "ids"),
        ("from_time=yesterday", "invalid-parameter", "from_time"),
        ("from_time=2&to_time=2", "invalid-parameter", "to_time"),
        ("stream=a&anonymous=true", "invalid-parameter", "anonymous"),
        ("format=xml", "invalid-parameter", "format"),
        ("format=csv&limit=3", "invalid-parameter", "limit"),
        ("format=csv&cursor=abc", "invalid-parameter", "cursor"),
        ("topic=a", "unknown-parameter", "topic"),
    ] {
        let refused = api.get(&format!("/rejections?{query}")).await;
        refused.problem(400, kind, Some(parameter));
    }
    let many: Vec<String> = (1..1_002).map(|id| id.to_string()).collect();
    let refused = api
        .get(&format!("/rejections?ids={}", many.join(",")))
        .await;
    refused.problem(400, "invalid-parameter", Some("ids"));
    service.close().await;
}

async fn readings_are_stored_once_the_table_takes_them(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let api = Api::of(&service);
    database
        .run("ALTER TABLE sensor_readings ADD CONSTRAINT sane CHECK (id1 <> 3)")
        .await;
    let third = |reading: &mut sluicegate_proto::v1::SensorReading| reading.id1 = 3;
    assert_eq!(send_batch(&service, None, |_| {}).await, 0);
    assert_eq!(send_batch(&service, Some("gate"), third).await, 3);
    let before = database.count("sensor_readings").await;
    let replayed = replay(&api, "stream=gate").await;
    assert_eq!(replayed["replayed_count"], 0);
    assert_eq!(replayed["kept_count"], 3);
    let reason = replayed["kept"][0]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("the database refused the row"),
        "{reason}"
    );
    assert_eq!(database.count("sensor_readings").await, before);
    database
        .run("ALTER TABLE sensor_readings DROP CONSTRAINT sane")
        .await;
    let replayed = replay(&api, "").await;
    assert_eq!(
        replayed,
        json!({"replayed_count": 3, "stored_count": 3, "kept_count": 0, "kept": [], "dry_run": false,
               "next_cursor": null})
    );
    assert_eq!(database.count("rejected_readings").await, 0);
    let query = "from_time=2020-01-01T00:00:00Z&to_time=2030-01-01T00:00:00Z";
    let stored = api
        .pages(&format!("/sensor/time?{query}"), "readings", 100)
        .await;
    let mut values: Vec<_> = stored
        .iter()
        .filter(|it| it["id1"] == 3)
        .map(|it| it["sensor_value"].as_f64().expect("a value"))
        .collect();
    values.sort_by(f64::total_cmp);
    let sent = readings();
    let mut expected: Vec<_> = sent[..3].iter().filter_map(|it| it.sensor_value).collect();
    expected.sort_by(f64::total_cmp);
    assert_eq!(values, expected);
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["replayed_count"], 0, "there is nothing left");
    // In the ledger they were never committed.
    service.close_after_deletes().await;
}

fn mapping(pointer: &str) -> MappingSettings {
    let text = format!(
        "{{format: json, value: {{pointer: /{pointer}}}, sensor_type: {{constant: t}}, id1: {{constant: 4}}, \
         id2: {{pointer: /name}}, time: arrival}}"
    );
    serde_norway::from_str(&text).expect("a mapping")
}

async fn with_mapping(database: &Database, pointer: &str) -> Service {
    Service::start_with(database, |settings| {
        take_any_time(settings);
        let mappings = [("plant".to_owned(), mapping(pointer))];
        settings.rest.mappings = Some(mappings.into());
    })
    .await
}

async fn payloads_are_decoded_by_the_mapping_of_today(database: Database) {
    let service = with_mapping(&database, "value").await;
    let api = Api::of(&service);
    let body = r#"[{"name":"a","v":1.5},{"name":"b","v":2.5},{"name":"c","v":"hot"}]"#;
    let sent = api.request(Method::POST, "/readings?mapping=plant");
    let sent = sent.header("content-type", "application/json").body(body);
    assert_eq!(api.send(sent).await.status, 400);
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["kept_count"], 3);
    let rejected = api.get("/rejections").await.json();
    let at = rejected["rejections"][0]["rejected_at"].clone();
    service.close().await;

    let service = with_mapping(&database, "v").await;
    let api = Api::of(&service);
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["replayed_count"], 2, "{replayed}");
    let kept = &replayed["kept"];
    assert!(
        kept[0]["reason"]
            .as_str()
            .expect("a reason")
            .contains("hot"),
        "{kept}"
    );
    let stored = database.stored().await;
    let mut told: Vec<_> = stored
        .iter()
        .map(|it| (it.reading.id2.clone(), it.reading.sensor_value))
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        told,
        [("a".to_owned(), Some(1.5)), ("b".to_owned(), Some(2.5))]
    );
    // They are of the time when they came, not of their replay.
    let arrived = stored[0].reading.timestamp_us.expect("a time");
    let rejected = chrono::DateTime::parse_from_rfc3339(at.as_str().expect("a time"));
    let rejected = rejected.expect("RFC 3339").timestamp_micros();
    let late_us = rejected - arrived;
    assert!((0..5_000_000).contains(&late_us), "{late_us}");
    let unknown = api.request(Method::POST, "/rejections/replay?mapping=nobody");
    let unknown = api.send(unknown).await;
    unknown.problem(400, "invalid-parameter", Some("mapping"));
    service.close_after_deletes().await;
}

async fn a_value_or_a_record_comes_back_alone(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let api = Api::of(&service);
    // The first value is stored at once, the other one in no way: nothing comes twice.
    send(&api, LINE_PROTOCOL, "m,id1=4,id2=A a=1,b=1e999 1000").await;
    assert_eq!(database.count("sensor_readings").await, 1);
    assert_eq!(replay(&api, "").await["kept_count"], 1);
    assert_eq!(database.count("sensor_readings").await, 1);
    // Read by another mapping that takes it, it is that value alone.
    database
        .run("UPDATE rejected_readings SET payload = 'm,id1=4,id2=A a=1,b=2.000 1000'")
        .await;
    let replayed = replay(&api, "mapping=influx").await;
    assert_eq!(
        (&replayed["replayed_count"], &replayed["stored_count"]),
        (&json!(1), &json!(1)),
        "{replayed}"
    );
    let stored = database.stored().await;
    let mut values: Vec<_> = stored
        .iter()
        .map(|it| (it.reading.sensor_type.clone(), it.reading.sensor_value))
        .collect();
    values.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(
        values,
        [("m.a".to_owned(), Some(1.0)), ("m.b".to_owned(), Some(2.0))]
    );
    // A payload of which a mapping makes several readings brings all of them, or none.
    send(&api, LINE_PROTOCOL, "m,id1=x a=3,b=4 1000").await;
    database
        .run("UPDATE rejected_readings SET payload = 'm,id1=7 a=3,b=4 1000'")
        .await;
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["stored_count"], 2, "{replayed}");
    assert_eq!(database.count("rejected_readings").await, 0);
    service.close_after_deletes().await;
}

async fn what_cannot_be_stored_stays_and_is_told_why(database: Database) {
    let service = Service::start_with(&database, |settings| {
        take_any_time(settings);
        settings.rest.max_line_bytes = Some(10_000);
    })
    .await;
    let api = Api::of(&service);
    let long = format!("m,id1={} t=1 1\n", "x".repeat(9_000));
    let longest = format!("m,id2={} t=1 1\n", "x".repeat(11_000));
    send(&api, LINE_PROTOCOL, &format!("{long}{longest}m t=hot 1\n")).await;
    let table = "timestamp_us,id1,id2,sensor_type,sensor_value\n1000,4,A,t,hot\n";
    send(&api, "text/csv", table).await;
    database
        .run(
            "INSERT INTO rejected_readings (seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
             origin, payload, rejected_at) VALUES (1, 'payload', 'old', 'absent', '', 0, '', 0, 'line 3', 'm t=1', \
             UTC_TIMESTAMP(6))",
        )
        .await;
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["replayed_count"], 0, "{replayed}");
    let reasons: Vec<_> = replayed["kept"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["reason"].as_str().expect("a reason").to_owned())
        .collect();
    let expected = [
        "the first 8192 alone were kept",
        "its beginning alone was kept",
        "sensor_value (t) is `hot`",
        "the first line of its request named the columns",
        "not which part of a payload",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, part) in reasons.iter().zip(expected) {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(database.count("rejected_readings").await, 5);
    // One has been put there by hand.
    service.close_after_deletes().await;
}

async fn times_that_are_not_taken_do_not_come_back_either(database: Database) {
    // As far ahead as is usual.
    let service = Service::start(&database).await;
    let api = Api::of(&service);
    let far = |reading: &mut sluicegate_proto::v1::SensorReading| {
        reading.timestamp_us = Some(4_102_444_800_000_000);
    };
    assert_eq!(send_batch(&service, Some("gate"), far).await, 3);
    let replayed = replay(&api, "").await;
    assert_eq!(replayed["kept_count"], 3, "{replayed}");
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

async fn one_of_several_records_in_a_line_is_not_stored_again(database: Database) {
    let service = with_mapping(&database, "v").await;
    let api = Api::of(&service);
    let line = r#"[{"name":"a","v":1},{"name":"b","v":"hot"}]"#;
    let sent = api.request(Method::POST, "/readings?mapping=plant");
    let sent = sent.header("content-type", "application/x-ndjson");
    assert_eq!(api.send(sent.body(line)).await.status, 400);
    assert_eq!(database.count("sensor_readings").await, 1);
    // Even if all of it could be read by now.
    let mended = r#"[{"name":"a","v":1},{"name":"b","v":2.00}]"#;
    database
        .run(&format!(
            "UPDATE rejected_readings SET payload = '{mended}'"
        ))
        .await;
    assert_eq!(replay(&api, "").await["kept_count"], 1);
    assert_eq!(database.count("sensor_readings").await, 1);
    service.close().await;
}

async fn a_trial_changes_nothing(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let api = Api::of(&service);
    send(&api, LINE_PROTOCOL, "m,id1=x a=3,b=4 1000\nm a=hot 1").await;
    let payload =
        "UPDATE rejected_readings SET payload = 'm,id1=7 a=3,b=4 1000' WHERE origin = 'line 1'";
    database.run(payload).await;
    let replayed = replay(&api, "dry_run=true").await;
    assert_eq!(replayed["replayed_count"], 1, "{replayed}");
    assert_eq!(replayed["stored_count"], 2);
    assert_eq!(replayed["kept_count"], 1);
    let dropped = api.delete("/rejections?everything=true&dry_run=true").await;
    assert_eq!(dropped.json(), json!({"dropped_count": 2, "dry_run": true}));
    assert_eq!(database.count("rejected_readings").await, 2);
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

async fn two_replays_store_each_reading_once(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let beside = Service::start_with(&database, |settings| {
        take_any_time(settings);
        settings.instance = Some("beside".to_owned());
    })
    .await;
    const ROWS: u64 = 3_000;
    let rows: Vec<String> = (0..ROWS)
        .map(|n| format!("({n}, 'reading', 'no', '{n}.5', 't', {n}, 'a', {n}, UTC_TIMESTAMP(6))"))
        .collect();
    database
        .run(&format!(
            "INSERT INTO rejected_readings (seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
             rejected_at) VALUES {}",
            rows.join(",")
        ))
        .await;
    let all = async |service: &Service| {
        let api = Api::of(service);
        let (mut stored, mut cursor) = (0, String::new());
        loop {
            let page = replay(&api, &format!("limit=700{cursor}")).await;
            stored += page["stored_count"].as_u64().expect("a count");
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return stored,
            }
        }
    };
    let (first, second) = tokio::join!(all(&service), all(&beside));
    assert_eq!(first + second, ROWS, "{first} and {second}");
    assert_eq!(database.count("sensor_readings").await, ROWS);
    assert_eq!(database.count("rejected_readings").await, 0);
    let stored = database.stored().await;
    let ids: std::collections::HashSet<_> = stored.iter().map(|it| it.reading.id1).collect();
    assert_eq!(ids.len() as u64, ROWS);
    beside.close_after_deletes().await;
    service.close_after_deletes().await;
}

async fn rejections_are_removed_when_somebody_says_which(database: Database) {
    let service = Service::start_for_any_time(&database).await;
    let api = Api::of(&service);
    let nan = |reading: &mut sluicegate_proto::v1::SensorReading| {
        reading.sensor_value = Some(f64::NAN);
    };
    for stream in [Some("gate"), None, Some("other")] {
        assert_eq!(send_batch(&service, stream, nan).await, 3);
    }
    let refused = api.delete("/rejections").await;
    refused.problem(400, "missing-parameter", Some("everything"));
    let refused = api.delete("/rejections?stream=a&everything=true").await;
    refused.problem(400, "invalid-parameter", Some("everything"));
    let removed = async |query: &str| {
        let answer = api.delete(&format!("/rejections?{query}")).await.json();
        answer["dropped_count"].as_u64().expect("a count")
    };
    assert_eq!(removed("stream=gate").await, 3);
    assert_eq!(removed("stream=gate").await, 0);
    let left = found(&api, "").await;
    assert_eq!(removed(&format!("ids={}", left[0])).await, 1);
    assert_eq!(removed("reason=no+such").await, 0);
    assert_eq!(removed("everything=true").await, 5);
    assert_eq!(database.count("rejected_readings").await, 0);
    service.close_after_deletes().await;
}

async fn the_command_line_does_the_same(database: Database) {
    let tokens = Tokens::new();
    let bearer = tokens.make("sender", "ingest");
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = |name: &str, scopes: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, tokens.make(name, scopes) + "\n").expect("written");
        path.display().to_string()
    };
    let (reader, writer) = (
        token_file("reader", "read"),
        token_file("writer", "read,write"),
    );
    let service = Service::start_with(&database, |settings| {
        take_any_time(settings);
        tokens.asked_for(settings);
    })
    .await;
    let api = Api::of(&service);
    let url = format!("http://{}", service.rest);
    let run = async |token: &str, arguments: &[&str]| {
        let all = [
            &["quarantine"],
            arguments,
            &["--url", &url, "--token-file", token],
        ]
        .concat();
        let mut command = command(&all);
        // As in its image, which has no authorities.
        command.env("SSL_CERT_FILE", "/nonexistent");
        command.env("SSL_CERT_DIR", "/nonexistent");
        let output = command.stdout(std::process::Stdio::piped()).output();
        let output = tokio::time::timeout(Duration::from_secs(30), output).await;
        let output = output.expect("it ends").expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let lines = "m,id1=4,id2=A t=1 1\nm,id1=x t=2 1\nm t=\u{1b}[31m 1\n";
    let sent = api.request(Method::POST, "/readings").bearer_auth(bearer);
    let sent = sent.header("content-type", LINE_PROTOCOL).body(lines);
    assert_eq!(api.send(sent).await.status, 400);

    let (code, out, error) = run(&reader, &["list"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains(" - 2 id1: id1 (tag id1) is `x`"), "{out}");
    assert!(out.contains("(line 3)") && !out.contains('\u{1b}'), "{out}");
    let (_, out, error) = run(&reader, &["list", "--limit", "1"]).await;
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(error.contains("there are more"), "{error}");
    let into = folder.path().join("rejected.csv");
    let into = into.display().to_string();
    let exported = run(&reader, &["export", "--format", "csv", "--into", &into]).await;
    assert_eq!(exported.0, Some(0), "{exported:?}");
    let table = std::fs::read_to_string(&into).expect("written");
    assert_eq!(table.lines().count(), 3, "{table}");

    let (code, _, error) = run(&reader, &["replay"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("write"), "{error}");
    database
        .run("UPDATE rejected_readings SET payload = 'm,id1=5 t=2 1' WHERE origin = 'line 2'")
        .await;
    let (code, out, error) = run(&writer, &["replay", "--dry-run"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.ends_with("would be replayed: 1 (1 readings), kept: 1\n"),
        "{out}"
    );
    let (_, out, _) = run(&writer, &["replay", "--origin", "line"]).await;
    assert!(
        out.starts_with("stays: ") && !out.contains('\u{1b}'),
        "{out}"
    );
    assert!(
        out.ends_with("\nreplayed: 1 (1 readings), kept: 1\n"),
        "{out}"
    );
    assert_eq!(database.count("sensor_readings").await, 2);
    let (code, _, error) = run(&writer, &["drop"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("everything"), "{error}");
    let (_, out, _) = run(&writer, &["drop", "--everything"]).await;
    assert_eq!(out, "dropped: 1\n");
    let (code, _, error) = run("/nowhere", &["list"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("--token-file /nowhere"), "{error}");
    service.close_after_deletes().await;
}
