//! The ledger and the quarantine, to look at.

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SensorBatch, SensorReading};

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, readings::position, service::Service},
    sample::{filled, readings, service},
};

on_each_engine! {
    a_stream_shows_where_it_stands,
    streams_are_listed_in_order_of_their_names,
    a_quarantined_reading_shows_where_it_stood_why_and_what_it_was,
    quarantines_are_kept_apart_and_paged,
}

/// Names that need care in a path and in a comparison.
const NAMES: [&str; 6] = ["a", "A", "a/b c", "größe 🚿", "100%", "a?b&c#d"];

fn in_path(name: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Sends readings of which some are bad, as the stream's next or anonymously.
async fn send(service: &Service, stream: Option<&str>, readings: Vec<SensorReading>) -> u64 {
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

fn bad(n: usize) -> SensorReading {
    SensorReading {
        sensor_value: Some(f64::NAN),
        ..readings()[n].clone()
    }
}

async fn a_stream_shows_where_it_stands(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    for name in NAMES {
        let sent = vec![readings()[0].clone(), bad(1), readings()[2].clone()];
        assert_eq!(send(&service, Some(name), sent).await, 1);
        service.open(name).await;
        let stream = api.get(&format!("/streams/{}", in_path(name))).await.json();
        let expected = json!({
            "stream_id": name, "kind": "stream", "epoch": 2, "committed_seq": 3,
            "committed": 2, "rejected": 1, "duplicate": 0,
        });
        for (field, value) in expected.as_object().expect("an object") {
            assert_eq!(&stream[field], value, "{field} of {name}");
        }
        let at = |field: &str| {
            let text = stream[field].as_str().expect("a text");
            chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
        };
        assert!(at("created_at") <= at("updated_at"));
        let age = chrono::Utc::now().signed_duration_since(at("updated_at"));
        assert!(age.num_seconds().abs() < 60, "in UTC: {stream}");
    }
    for unknown in ["b", "a%20", "%20a", "a/b", "nobody"] {
        for below in ["", "/rejections"] {
            let path = format!("/streams/{}{below}", in_path(unknown));
            api.get(&path).await.problem(404, "not-found", Some("id"));
        }
    }
    let refused = api.get("/streams/%ff").await;
    refused.problem(400, "invalid-parameter", Some("id"));
    let refused = api.get("/streams/a?limit=3").await;
    refused.problem(400, "unknown-parameter", Some("limit"));
    service.close().await;
}

async fn streams_are_listed_in_order_of_their_names(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    for name in NAMES {
        service.open(name).await;
    }
    // By two lanes, so that each has a row of its own.
    send(&service, None, vec![readings()[0].clone()]).await;
    let all = api.pages("/streams", "streams", 2).await;
    let names: Vec<_> = all
        .iter()
        .map(|it| it["stream_id"].as_str().expect("a name"))
        .collect();
    let mut expected: Vec<_> = NAMES
        .into_iter()
        .chain(["sample", "lane:here/0", "lane:here/1", "lane:here/2"])
        .collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for stream in &all {
        let of_lane = stream["stream_id"]
            .as_str()
            .is_some_and(|it| it.starts_with("lane:"));
        assert_eq!(stream["kind"], if of_lane { "lane" } else { "stream" });
    }
    let committed = |kind: &str| -> u64 {
        let of_kind = all.iter().filter(|it| it["kind"] == kind);
        of_kind
            .map(|it| it["committed"].as_u64().expect("a count"))
            .sum()
    };
    assert_eq!((committed("stream"), committed("lane")), (420, 1));
    assert_eq!(api.get("/streams").await.json()["next_cursor"], Value::Null);
    service.close().await;
}

async fn a_quarantined_reading_shows_where_it_stood_why_and_what_it_was(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    let good = readings()[0].clone();
    let poison = [
        SensorReading {
            sensor_value: Some(f64::NEG_INFINITY),
            ..good.clone()
        },
        SensorReading {
            id2: "tab\t\"quote\" 🚿\0".to_owned(),
            sensor_type: "\\N\n'🚿\0 ".to_owned(),
            ..good.clone()
        },
        SensorReading {
            sensor_type: "x".repeat(60),
            ..good.clone()
        },
        SensorReading {
            timestamp_us: Some(i64::MIN),
            ..good.clone()
        },
    ];
    let fields = ["sensor_value", "id2", "sensor_type", "timestamp_us"];
    let values = ["-inf", "-20.0", "-20.0", "-20.0"];
    let sent = [vec![good.clone()], poison.to_vec(), vec![good]].concat();
    assert_eq!(send(&service, Some("gate/1"), sent).await, 4);
    let path = format!("/streams/{}/rejections", in_path("gate/1"));
    let rejections = api.get(&path).await.json();
    let rejections = rejections["rejections"].as_array().expect("a list");
    assert_eq!(rejections.len(), 4);
    for (index, (rejection, reading)) in rejections.iter().zip(&poison).enumerate() {
        let raw = json!({
            "stream_id": "gate/1", "seq": index + 2, "field": fields[index], "sensor_value": values[index],
            "id1": reading.id1, "id2": reading.id2, "sensor_type": reading.sensor_type,
            "timestamp_us": reading.timestamp_us,
        });
        for (field, value) in raw.as_object().expect("an object") {
            assert_eq!(&rejection[field], value, "{rejection}");
        }
        let reason = rejection["reason"].as_str().expect("a reason");
        assert!(reason.contains(fields[index]), "{reason}");
    }
    service.close().await;
}

async fn quarantines_are_kept_apart_and_paged(database: Database) {
    let (_, service) = service(&database, Layout::Partitioned).await;
    let api = Api::of(&service);
    for round in 0..3 {
        for stream in [Some("a"), None, Some("A")] {
            let sent = (0..5).map(|n| bad(round * 5 + n)).collect();
            assert_eq!(send(&service, stream, sent).await, 5);
        }
    }
    let seqs = |rejections: &[Value]| -> Vec<u64> {
        let seqs = rejections.iter().map(|it| it["seq"].as_u64());
        seqs.map(|seq| seq.expect("a position")).collect()
    };
    for stream in ["a", "A"] {
        let path = format!("/streams/{stream}/rejections");
        let found = api.pages(&path, "rejections", 4).await;
        assert_eq!(seqs(&found), (1..=15).collect::<Vec<_>>());
        assert!(found.iter().all(|it| it["stream_id"] == stream));
    }
    let anonymous = api
        .pages("/rejections?anonymous=true", "rejections", 4)
        .await;
    assert_eq!(anonymous.len(), 15);
    assert!(anonymous.iter().all(|it| it["stream_id"].is_null()));
    let mut positions = seqs(&anonymous);
    positions.dedup();
    assert_eq!(positions, [1, 2, 3, 4, 5], "each call counts from 1");
    let all = api.pages("/rejections", "rejections", 7).await;
    let ids: Vec<_> = all.iter().map(|it| it["id"].as_u64()).collect();
    assert_eq!(ids.len(), 45);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    service.close().await;
}
