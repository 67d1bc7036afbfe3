//! Queries: what they find, and how cursors lead through it.

use serde_json::Value;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{assert_same, exact},
        service::Service,
    },
    sample::{Chosen, LAYOUTS, PAIRS, SPAN_S, START_S, filled, read, readings, service, store},
};

on_each_engine! {
    a_query_finds_what_a_model_finds_on_every_layout,
    paging_brings_each_reading_once_while_others_come_in,
    a_cursor_leads_through_many_readings_of_one_instant,
    a_cursor_of_another_query_is_refused,
    the_last_page_says_that_it_is,
    a_range_is_half_open_and_has_any_offset,
    ranges_beyond_the_table_are_empty_and_no_error,
}

/// Selections of every kind, both ways round.
fn chosen() -> Vec<Chosen> {
    let by_time = |from, to| Chosen {
        seconds: Some((from, to)),
        ..Chosen::default()
    };
    let by_ids = |pairs: &[(i32, &'static str)]| Chosen {
        pairs: pairs.to_vec(),
        ..Chosen::default()
    };
    let forward = [
        by_time(0, SPAN_S),
        by_time(17, 18),
        by_time(100, 131),
        by_time(SPAN_S, 2 * SPAN_S),
        Chosen {
            sensor_type: Some("humidity"),
            ..by_time(50, 250)
        },
        by_ids(&PAIRS),
        by_ids(&[PAIRS[5], (9, "none"), PAIRS[0]]),
        Chosen {
            sensor_type: Some("temperature"),
            ..by_ids(&PAIRS[1..4])
        },
        Chosen {
            seconds: Some((30, 200)),
            ..by_ids(&PAIRS[2..6])
        },
        Chosen {
            seconds: Some((30, 200)),
            sensor_type: Some("Humidity"),
            ..by_ids(&PAIRS)
        },
    ];
    let backward = forward.clone().map(|forward| Chosen {
        descending: true,
        ..forward
    });
    forward.into_iter().chain(backward).collect()
}

fn assert_in_order(found: &[Value], expected: &[SensorReading], what: &str) {
    let found: Vec<_> = found.iter().map(|it| exact(&read(it))).collect();
    let expected: Vec<_> = expected.iter().map(exact).collect();
    assert_eq!(found, expected, "{what}");
}

async fn a_query_finds_what_a_model_finds_on_every_layout(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for chosen in chosen() {
            let expected = chosen.expected(&readings());
            let query = chosen.query();
            let what = format!("{layout:?} {query}");
            let whole = api.get(&query).await.json();
            assert_eq!(whole["count"], expected.len(), "{what}");
            let whole = whole["readings"].as_array().expect("a list");
            assert_in_order(whole, &expected, &what);
            let paged = api.pages(&query, "readings", 37).await;
            assert_in_order(&paged, &expected, &what);
        }
        service.close().await;
    }
}

async fn paging_brings_each_reading_once_while_others_come_in(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for chosen in [
            Chosen {
                seconds: Some((0, SPAN_S)),
                ..Chosen::default()
            },
            Chosen {
                seconds: Some((0, SPAN_S)),
                descending: true,
                ..Chosen::default()
            },
            Chosen {
                pairs: PAIRS.to_vec(),
                ..Chosen::default()
            },
        ] {
            // Of a type of their own, at the very instants of those that are looked for, in front and behind.
            let late = |n: i64| SensorReading {
                sensor_type: "late".to_owned(),
                timestamp_us: Some((START_S + n % SPAN_S) * 1_000_000),
                ..readings()[n as usize].clone()
            };
            let query = chosen.query();
            let paging = api.pages(&query, "readings", 11);
            let storing = async {
                for n in 0..40 {
                    let some = (n * 7..n * 7 + 7).map(late).collect();
                    store(&service, "late", some).await;
                }
            };
            let (paged, ()) = tokio::join!(paging, storing);
            let mut ids: Vec<_> = paged.iter().map(|it| it["id"].as_i64()).collect();
            ids.sort_unstable();
            let all = ids.len();
            ids.dedup();
            assert_eq!(ids.len(), all, "{chosen:?} brings a reading twice");
            let of_sample: Vec<_> = paged
                .into_iter()
                .filter(|it| it["sensor_type"] != "late")
                .collect();
            let expected = chosen.expected(&readings());
            assert_in_order(&of_sample, &expected, &format!("{layout:?} {chosen:?}"));
        }
        service.close().await;
    }
}

async fn a_cursor_leads_through_many_readings_of_one_instant(database: Database) {
    let at_once = |n: u64| SensorReading {
        sensor_value: Some(n as f64),
        timestamp_us: Some(START_S * 1_000_000),
        ..readings()[0].clone()
    };
    let sent: Vec<_> = (0..2_000).map(at_once).collect();
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, sent.clone()).await;
        let api = Api::of(&service);
        for descending in [false, true] {
            for pairs in [vec![], vec![PAIRS[0]]] {
                let chosen = Chosen {
                    seconds: Some((0, 1)),
                    pairs,
                    descending,
                    ..Chosen::default()
                };
                let paged = api.pages(&chosen.query(), "readings", 300).await;
                assert_in_order(&paged, &chosen.expected(&sent), &chosen.query());
            }
        }
        service.close().await;
    }
}

async fn next_cursor(api: &Api, path: &str, limit: usize) -> String {
    let page = api.get(&format!("{path}&limit={limit}")).await.json();
    let cursor = page["next_cursor"].as_str();
    cursor.expect("there is more").to_owned()
}

async fn a_cursor_of_another_query_is_refused(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let from = START_S * 1_000;
    let time = format!("from_time={from}&to_time={}", from + 200_000);
    let own = format!("/sensor/time?{time}");
    let cursor = next_cursor(&api, &own, 5).await;
    // What is the same query in other words.
    for same in [
        format!("{own}&order=asc&limit=7"),
        format!(
            "/sensor/time?to_time={}&from_time=2026-01-01T02:00:00%2B02:00",
            from + 200_000
        ),
    ] {
        let page = api.get(&format!("{same}&cursor={cursor}")).await.json();
        assert_ne!(page["count"], 0, "{same}");
    }
    for other in [
        format!("{own}&order=desc"),
        format!("{own}&sensor_type=humidity"),
        format!(
            "/sensor/time?from_time={}&to_time={}",
            from + 1,
            from + 200_000
        ),
        format!("/sensor/ids-time?{time}&id1=0&id2=A"),
        format!("/sensor/aggregate?{time}&bucket=1m"),
        "/sensor/ids?id1=0&id2=A".to_owned(),
        "/streams?limit=1".to_owned(),
        "/rejections?limit=1".to_owned(),
    ] {
        let refused = api.get(&format!("{other}&cursor={cursor}")).await;
        let document = refused.problem(400, "invalid-cursor", Some("cursor"));
        let detail = document["detail"].as_str().expect("a detail");
        assert!(detail.contains("another query"), "{other}: {detail}");
    }
    let swapped = cursor.chars().rev().collect::<String>();
    for damaged in ["x", "AAAA", "%00", &cursor[1..], &swapped] {
        let refused = api.get(&format!("{own}&cursor={damaged}")).await;
        refused.problem(400, "invalid-cursor", Some("cursor"));
    }
    let of_pairs = next_cursor(&api, "/sensor/ids?id1=0,1&id2=A,B", 5).await;
    let turned = format!("/sensor/ids?id1=1,0&id2=B,A&cursor={of_pairs}");
    let refused = api.get(&turned).await;
    refused.problem(400, "invalid-cursor", Some("cursor"));
    service.close().await;
}

async fn the_last_page_says_that_it_is(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    let all = Chosen {
        pairs: PAIRS.to_vec(),
        ..Chosen::default()
    };
    for (limit, more) in [(419, true), (420, false), (421, false)] {
        let page = api.get(&format!("{}&limit={limit}", all.query())).await;
        let page = page.json();
        assert_eq!(page["next_cursor"].is_string(), more, "{limit}");
        assert_eq!(page["count"], limit.min(420));
    }
    // What comes in behind the last page belongs to the next query.
    let none = api.get("/sensor/ids?id1=5&id2=nobody").await.json();
    let empty = serde_json::json!({"readings": [], "count": 0, "next_cursor": null});
    assert_eq!(none, empty);
    service.close().await;
}

async fn times_found(api: &Api, from: &str, to: &str) -> Vec<i64> {
    let path = format!("/sensor/time?from_time={from}&to_time={to}");
    let page = api.get(&path).await.json();
    let found = page["readings"].as_array().expect("a list").iter();
    found.map(|it| read(it).timestamp_us()).collect()
}

async fn a_range_is_half_open_and_has_any_offset(database: Database) {
    let start_us = START_S * 1_000_000;
    let micros = |n| SensorReading {
        timestamp_us: Some(start_us + n),
        ..readings()[0].clone()
    };
    let sent = [-1, 0, 1, 999, 1_000, 1_001].map(micros).to_vec();
    for layout in [Layout::Partitioned, Layout::Hashed] {
        let (_, service) = filled(&database, layout, sent.clone()).await;
        let api = Api::of(&service);
        let found = async |from: &str, to: &str| -> Vec<i64> {
            let found = times_found(&api, from, to).await;
            found.into_iter().map(|at| at - start_us).collect()
        };
        let (from, to) = (
            (START_S * 1_000).to_string(),
            (START_S * 1_000 + 1).to_string(),
        );
        assert_eq!(found(&from, &to).await, [0, 1, 999]);
        let (from, to) = (
            "2026-01-01T05:30:00%2B05:30",
            "2025-12-31T19:00:00.001-05:00",
        );
        assert_eq!(found(from, to).await, [0, 1, 999]);
        let (from, to) = ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.001001Z");
        assert_eq!(found(from, to).await, [1, 999, 1_000]);
        let (from, to) = ("2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z");
        assert_eq!(found(from, to).await, [-1]);
        service.close().await;
    }
    // Whole seconds only: what is stored was cut, and a bound within a second leaves that second out.
    let (_, service) = filled(&database, Layout::Seed, sent).await;
    let api = Api::of(&service);
    let found = async |from: &str, to: &str| times_found(&api, from, to).await.len();
    let (zero, one) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    assert_eq!(found(zero, one).await, 5);
    assert_eq!(found("2026-01-01T00:00:00.000001Z", one).await, 0);
    assert_eq!(found(zero, "2026-01-01T00:00:00.000001Z").await, 5);
    assert_eq!(found("2025-12-31T23:59:59Z", zero).await, 1);
    service.close().await;
}

/// Every statement that has bounds in time, with bounds that the column cannot hold.
async fn ranges_beyond_the_table_are_empty_and_no_error(database: Database) {
    for layout in LAYOUTS {
        let (_, service) = filled(&database, layout, readings()).await;
        let api = Api::of(&service);
        for (from, to, found) in [
            ("0", "1", 0),
            ("-1", "0", 0),
            ("-9223372036854775", "9223372036854775", 420),
            ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", 420),
            ("1969-12-31T00:00:00Z", "2038-01-19T03:14:08Z", 420),
            ("2038-01-19T03:14:08Z", "2038-01-19T03:14:09Z", 0),
            ("9999-12-31T23:59:59Z", "253402300800000", 0),
            ("9223372036854774", "9223372036854775", 0),
        ] {
            let time = format!("from_time={from}&to_time={to}");
            let what = format!("{layout:?} {time}");
            let page = api.get(&format!("/sensor/time?{time}")).await.json();
            assert_eq!(page["count"], found, "{what}");
            let path = format!("/sensor/aggregate?{time}&bucket=30d");
            let buckets = api.pages(&path, "buckets", 5).await;
            let counts = buckets.iter().map(|it| it["count"].as_u64().expect("one"));
            assert_eq!(counts.sum::<u64>(), found, "{what}");
            let path = format!("/sensor/delete/time?{time}&dry_run=true");
            let counted = api.delete(&path).await.json();
            assert_eq!(counted["deleted_count"], found, "{what}");
        }
        service.close().await;
    }
    // Readings at the very ends, and buckets that begin before the first and end behind the last.
    let ends = |times: [i64; 2]| {
        times.map(|timestamp_us| SensorReading {
            timestamp_us: Some(timestamp_us),
            ..readings()[0].clone()
        })
    };
    let year_9999 = 253_402_300_799_999_999;
    for (layout, times) in [
        (Layout::Seed, [1_000_000, 2_147_483_647_000_000]),
        (Layout::Partitioned, [-30_610_224_000_000_000, year_9999]),
    ] {
        let ends = ends(times);
        let (_, service) = service(&database, layout).await;
        store_one_by_one(&service, &ends).await;
        let api = Api::of(&service);
        let time = "from_time=-9223372036854775&to_time=9223372036854775";
        let path = format!("/sensor/time?{time}");
        let found = api.pages(&path, "readings", 1).await;
        let found: Vec<_> = found.iter().map(read).collect();
        assert_same(&found, &ends);
        let path = format!("/sensor/aggregate?{time}&bucket=30d");
        assert_eq!(api.pages(&path, "buckets", 1).await.len(), 2);
        service.close().await;
    }
}

async fn store_one_by_one(service: &Service, readings: &[SensorReading]) {
    for reading in readings {
        store(service, "ends", vec![reading.clone()]).await;
    }
}
