//! The newest readings, and figures per time bucket.

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, readings::exact},
    sample::{Chosen, LAYOUTS, PAIRS, SPAN_S, START_S, filled, pairs, read, readings, store},
};

on_each_engine! {
    the_latest_is_the_last_of_a_walk_through_the_pair,
    a_pair_asked_for_twice_is_answered_once,
    buckets_hold_what_a_model_gathers,
    buckets_are_aligned_to_utc_even_before_1970,
    values_at_the_edge_of_a_double_survive,
    first_and_last_are_by_time_and_then_by_id,
}

async fn the_latest_is_the_last_of_a_walk_through_the_pair(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        let asked = [PAIRS.as_slice(), &[(3, "nobody")]].concat();
        for sensor_type in [None, Some("humidity"), Some("humidity ")] {
            let of_type = sensor_type.map_or(String::new(), |it| {
                format!("&sensor_type={}", it.replace(' ', "%20"))
            });
            let path = format!("/sensor/latest?{}{of_type}", pairs(&asked));
            let answer = api.get(&path).await.json();
            let latest = answer["latest"].as_array().expect("a list");
            let mut latest = latest.iter();
            for pair in &asked {
                for last in newest(layout, *pair, sensor_type) {
                    let found = latest.next().expect("one for each");
                    assert_eq!(
                        (&found["id1"], &found["id2"]),
                        (&json!(pair.0), &json!(pair.1))
                    );
                    let found = Some(&found["reading"]).filter(|it| !it.is_null()).map(read);
                    let (found, last) = (found.as_ref().map(exact), last.as_ref().map(exact));
                    assert_eq!(found, last, "{layout:?} {pair:?} {sensor_type:?}");
                }
            }
            assert_eq!(latest.next(), None, "{layout:?}");
        }
        service.close().await;
    }
}

/// What is answered for a pair: where series are known, the newest of each of its sensor types.
fn newest(
    layout: Layout,
    pair: (i32, &'static str),
    sensor_type: Option<&'static str>,
) -> Vec<Option<SensorReading>> {
    let last = |sensor_type| {
        let walk = Chosen {
            pairs: vec![pair],
            sensor_type,
            ..Chosen::default()
        };
        walk.expected(&readings()).pop()
    };
    let types = match (layout, sensor_type) {
        (Layout::Series, None) => vec![Some("humidity"), Some("temperature")],
        _ => vec![sensor_type],
    };
    let found: Vec<_> = types.into_iter().filter_map(last).collect();
    match found.is_empty() {
        true => vec![None],
        false => found.into_iter().map(Some).collect(),
    }
}

async fn a_pair_asked_for_twice_is_answered_once(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let answer = api.get("/sensor/latest?id1=0,1,0&id2=A,B,A").await.json();
    let latest = answer["latest"].as_array().expect("a list");
    let shown: Vec<_> = latest.iter().map(|it| it["id2"].as_str()).collect();
    assert_eq!(shown, [Some("A"), Some("B")]);
    service.close().await;
}

/// What a bucket has to show, in the order of the answer.
fn gathered(stored: &[SensorReading], width_us: i64) -> Vec<Value> {
    let mut groups = std::collections::BTreeMap::<_, Vec<&SensorReading>>::new();
    for reading in stored {
        let start = reading.timestamp_us().div_euclid(width_us) * width_us;
        let series = (
            reading.id1,
            reading.id2.clone(),
            reading.sensor_type.clone(),
        );
        groups.entry((start, series)).or_default().push(reading);
    }
    let bucket = |((start, (id1, id2, sensor_type)), mut of_group): (_, Vec<&SensorReading>)| {
        of_group.sort_by_key(|reading| reading.timestamp_us);
        let values: Vec<_> = of_group.iter().map(|it| it.sensor_value()).collect();
        json!({
            "bucket_us": start, "id1": id1, "id2": id2, "sensor_type": sensor_type, "count": values.len(),
            "min": values.iter().copied().fold(f64::INFINITY, f64::min),
            "max": values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "avg": values.iter().sum::<f64>() / values.len() as f64,
            "first": values[0], "last": values[values.len() - 1],
        })
    };
    groups.into_iter().map(bucket).collect()
}

/// The average is the database's own sum, which may differ in its last digits; its start is also shown as text.
fn assert_same_buckets(found: &[Value], expected: &[Value], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let (mut found, mut expected) = (found.clone(), expected.clone());
        let take = |bucket: &mut Value| bucket["avg"].take().as_f64().expect("a number");
        let (avg, of_model) = (take(&mut found), take(&mut expected));
        assert!(
            (avg - of_model).abs() <= 1e-9 * of_model.abs().max(1.0),
            "{what}: {avg} {of_model}"
        );
        let start = found["bucket"].take();
        let start = chrono::DateTime::parse_from_rfc3339(start.as_str().expect("a text"));
        assert_eq!(
            found["bucket_us"],
            start.expect("RFC 3339").timestamp_micros()
        );
        expected["bucket"] = Value::Null;
        assert_eq!(found, expected, "{what}");
    }
}

async fn buckets_hold_what_a_model_gathers(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for (bucket, width_s) in [
            ("1s", 1),
            ("7s", 7),
            ("1m", 60),
            ("1h", 3_600),
            ("30d", 2_592_000),
        ] {
            for chosen in [
                Chosen {
                    seconds: Some((0, SPAN_S)),
                    ..Chosen::default()
                },
                Chosen {
                    seconds: Some((13, 111)),
                    pairs: PAIRS[1..5].to_vec(),
                    sensor_type: Some("temperature"),
                    ..Chosen::default()
                },
            ] {
                let path = format!("/sensor/aggregate?{}&bucket={bucket}", chosen.selection());
                let expected = gathered(&chosen.expected(&readings()), width_s * 1_000_000);
                let found = api.pages(&path, "buckets", 29).await;
                assert_same_buckets(&found, &expected, &format!("{layout:?} {path}"));
            }
        }
        service.close().await;
    }
}

async fn buckets_are_aligned_to_utc_even_before_1970(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, Vec::new()).await;
    let at = |timestamp_us| SensorReading {
        timestamp_us: Some(timestamp_us),
        ..readings()[0].clone()
    };
    let sent = [-1, 0, 1, -86_400_000_000, -86_400_000_001].map(at);
    store(&service, "sample", sent.to_vec()).await;
    let api = Api::of(&service);
    let path =
        "/sensor/aggregate?from_time=1960-01-01T00:00:00Z&to_time=2000-01-01T00:00:00Z&bucket=1d";
    let buckets = api.pages(path, "buckets", 2).await;
    let starts: Vec<_> = buckets
        .iter()
        .map(|it| (it["bucket"].as_str().expect("a text"), it["count"].as_u64()))
        .collect();
    assert_eq!(
        starts,
        [
            ("1969-12-30T00:00:00.000000Z", Some(1)),
            ("1969-12-31T00:00:00.000000Z", Some(2)),
            ("1970-01-01T00:00:00.000000Z", Some(2)),
        ]
    );
    service.close().await;
}

async fn values_at_the_edge_of_a_double_survive(database: Database) {
    let values = [
        f64::MAX,
        f64::MAX,
        f64::MIN,
        -f64::MIN_POSITIVE,
        -2.225_073_858_507_201e-308,
        5e-324,
        0.1 + 0.2,
        -1.0 / 3.0,
        123_456_789_012_345_680.0,
        0.0,
    ];
    let sent: Vec<_> = (0..)
        .zip(values)
        .map(|(n, sensor_value)| SensorReading {
            sensor_value: Some(sensor_value),
            timestamp_us: Some((START_S + n) * 1_000_000),
            ..readings()[0].clone()
        })
        .collect();
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, sent.clone()).await;
        let api = Api::of(&service);
        let (from, to) = (START_S * 1_000, (START_S + 60) * 1_000);
        let time = format!("from_time={from}&to_time={to}");
        let page = api.get(&format!("/sensor/time?{time}")).await.json();
        let found = page["readings"].as_array().expect("a list");
        let found: Vec<_> = found.iter().map(|it| exact(&read(it))).collect();
        assert_eq!(found, sent.iter().map(exact).collect::<Vec<_>>());
        // Each alone in its bucket.
        let path = format!("/sensor/aggregate?{time}&bucket=1s");
        let buckets = api.pages(&path, "buckets", 3).await;
        for (bucket, value) in buckets.iter().zip(values) {
            for figure in ["min", "max", "first", "last", "avg"] {
                assert_eq!(bucket[figure], value, "{figure} of {bucket}");
            }
        }
        // The sum of all is more than a double holds.
        let to = (START_S + 2) * 1_000;
        let path = format!("/sensor/aggregate?from_time={from}&to_time={to}&bucket=1m");
        let bucket = api.get(&path).await.json()["buckets"][0].clone();
        assert_eq!(bucket["avg"], Value::Null, "{bucket}");
        assert_eq!(
            (&bucket["max"], &bucket["count"]),
            (&json!(f64::MAX), &json!(2))
        );
        service.close().await;
    }
}

async fn first_and_last_are_by_time_and_then_by_id(database: Database) {
    let values = [30.0, 4.0, 100.0, -2.0];
    let sent: Vec<_> = values
        .map(|sensor_value| SensorReading {
            sensor_value: Some(sensor_value),
            ..readings()[0].clone()
        })
        .to_vec();
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, sent.clone()).await;
        // Later in coming, and by its time the first.
        let early = SensorReading {
            sensor_value: Some(7.0),
            timestamp_us: Some(sent[0].timestamp_us() - 1_000_000),
            ..sent[0].clone()
        };
        let from = early.timestamp_us() / 1_000;
        store(&service, "late", vec![early]).await;
        let api = Api::of(&service);
        let path = format!(
            "/sensor/aggregate?from_time={from}&to_time={}&bucket=30d",
            from + 2_000
        );
        let bucket = api.get(&path).await.json()["buckets"][0].clone();
        let expected = json!({"count": 5, "first": 7.0, "last": -2.0, "min": -2.0, "max": 100.0});
        for (figure, value) in expected.as_object().expect("an object") {
            assert_eq!(&bucket[figure], value, "{layout:?} {figure}");
        }
        service.close().await;
    }
}
