//! `/series`: which series there are, their tags, and queries by them.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::SensorReading;

use crate::{
    api::{Answer, Api},
    common::{
        database::Database,
        on_each_engine,
        program::{command, end_of},
        service::{Service, take_any_time},
        until,
    },
    sample::{START_S, filled, store},
};

on_each_engine! {
    every_filter_finds_what_it_says,
    pages_follow_each_other_whatever_they_are_selected_by,
    what_cannot_be_asked_for_is_refused_with_the_field_and_its_limit,
    what_no_key_answers_has_a_bound,
    tags_are_set_merged_and_removed,
    many_series_are_tagged_and_a_bad_line_keeps_no_other_from_its_own,
    readings_are_selected_by_tags,
    a_series_is_last_seen_on_the_day_on_which_a_reading_was_stored,
    series_without_readings_are_removed_and_no_others,
    a_series_that_readings_are_about_to_get_is_not_removed,
    who_tags_the_same_series_at_once_waits,
    other_layouts_know_no_series,
    the_command_lists_and_tags,
}

/// Names that differ in blanks, in case, and in what `LIKE` has for wildcards.
const NAMES: [(i32, &str, &str); 12] = [
    (1, "a", "temperature"),
    (1, "a", "temperature "),
    (1, "a", "humidity"),
    (1, "A", "temperature"),
    (1, "a_1", "temperature"),
    (1, "ab1", "temperature"),
    (1, "a%", "temperature"),
    (-5, "a", "temperature"),
    (-5, "größe|7", "humidity"),
    (2, "\\", "humidity"),
    (2, "a", "pressure"),
    (2_147_483_647, "z", "pressure"),
];

fn readings() -> Vec<SensorReading> {
    let reading = |(n, (id1, id2, sensor_type)): (i64, &(i32, &str, &str))| SensorReading {
        sensor_value: Some(n as f64),
        sensor_type: (*sensor_type).to_owned(),
        id1: *id1,
        id2: (*id2).to_owned(),
        timestamp_us: Some((START_S + n) * 1_000_000),
    };
    // Two of each, the second ones later.
    let twice = NAMES.iter().chain(&NAMES);
    (0..).zip(twice).map(reading).collect()
}

fn names(series: &Value) -> (i32, String, String) {
    let text = |field: &str| series[field].as_str().expect("a text").to_owned();
    let id1 = series["id1"].as_i64().expect("a number") as i32;
    (id1, text("id2"), text("sensor_type"))
}

fn expected(wanted: impl Fn(&(i32, &str, &str)) -> bool) -> BTreeSet<(i32, String, String)> {
    let wanted = NAMES.iter().filter(|names| wanted(names));
    wanted
        .map(|(id1, id2, sensor_type)| (*id1, (*id2).to_owned(), (*sensor_type).to_owned()))
        .collect()
}

async fn listed(api: &Api, query: &str) -> BTreeSet<(i32, String, String)> {
    let answer = api.get(&format!("/series?{query}")).await.json();
    let found = answer["series"].as_array().expect("a list");
    assert_eq!(answer["count"], found.len());
    let counted = api.get(&format!("/series/count?{query}")).await.json();
    assert_eq!(counted["count"], found.len(), "{query}");
    let set: BTreeSet<_> = found.iter().map(names).collect();
    assert_eq!(set.len(), found.len(), "{query}: each once");
    set
}

/// The numbers by names.
async fn numbers(api: &Api) -> BTreeMap<(i32, String, String), u64> {
    let answer = api.get("/series").await.json();
    let series = answer["series"].as_array().expect("a list").iter();
    let number = |one: &Value| one["series_id"].as_u64().expect("a number");
    series.map(|one| (names(one), number(one))).collect()
}

async fn number_of(api: &Api, id1: i32, id2: &str, sensor_type: &str) -> u64 {
    numbers(api).await[&(id1, id2.to_owned(), sensor_type.to_owned())]
}

async fn patch(api: &Api, number: u64, tags: &Value) -> Answer {
    let path = format!("/series/{number}/tags");
    api.send(api.request(Method::PATCH, &path).json(tags)).await
}

async fn every_filter_finds_what_it_says(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let today = chrono::Utc::now().format("%Y-%m-%d");
    assert_eq!(listed(&api, "").await, expected(|_| true));
    assert_eq!(listed(&api, "id1=1").await, expected(|one| one.0 == 1));
    assert_eq!(listed(&api, "id1=-5").await, expected(|one| one.0 == -5));
    assert_eq!(listed(&api, "id2=a").await, expected(|one| one.1 == "a"));
    assert_eq!(
        listed(&api, "id1=1&id2=a").await,
        expected(|one| (one.0, one.1) == (1, "a"))
    );
    for prefix in ["a", "a_", "a%25", "A", "gr", "größe|", "\\", "nothing"] {
        let begins = prefix.replace("%25", "%");
        assert_eq!(
            listed(&api, &format!("prefix={prefix}")).await,
            expected(|one| one.1.starts_with(&begins)),
            "{prefix}"
        );
    }
    assert_eq!(
        listed(&api, "prefix=a&id1=1").await,
        expected(|one| one.0 == 1 && one.1.starts_with('a'))
    );
    for sensor_type in ["temperature", "humidity", "temperature%20", "none"] {
        let of = sensor_type.replace("%20", " ");
        assert_eq!(
            listed(&api, &format!("sensor_type={sensor_type}")).await,
            expected(|one| one.2 == of),
            "{sensor_type}"
        );
    }
    assert_eq!(
        listed(&api, "sensor_type=temperature&id2=a").await,
        expected(|one| one.1 == "a" && one.2 == "temperature")
    );
    assert_eq!(
        listed(&api, &format!("seen_since={today}")).await,
        expected(|_| true)
    );
    assert_eq!(
        listed(&api, "seen_since=9999-12-31").await,
        BTreeSet::default()
    );
    service.close().await;
}

async fn pages_follow_each_other_whatever_they_are_selected_by(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    for number in numbers(&api).await.into_values() {
        assert_eq!(
            patch(&api, number, &json!({"all": "yes"})).await.status,
            200
        );
    }
    for query in [
        "",
        "id1=1",
        "id2=a",
        "prefix=a",
        "sensor_type=temperature",
        "seen_since=2026-01-01",
        "tags=all:yes",
        "id1=1&prefix=a",
    ] {
        let whole = listed(&api, query).await;
        for limit in [1, 2, 5] {
            let path = format!("/series?{query}");
            let pages = api.pages(&path, "series", limit).await;
            let found: Vec<_> = pages.iter().map(names).collect();
            assert_eq!(found.len(), whole.len(), "{query} by {limit}");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), whole, "{query}");
        }
    }
    service.close().await;
}

async fn what_cannot_be_asked_for_is_refused_with_the_field_and_its_limit(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let too_many = (0..9)
        .map(|n| format!("t{n}:x"))
        .collect::<Vec<_>>()
        .join(",");
    for (query, field) in [
        ("id1=x", "id1"),
        ("id1=2147483648", "id1"),
        ("id2=a&prefix=a", "prefix"),
        ("tags=site", "tags"),
        ("tags=a%20b:x", "tags"),
        ("tags=site:", "tags"),
        (&format!("tags={too_many}"), "tags"),
        ("seen_since=2026-02-30", "seen_since"),
        ("seen_since=yesterday", "seen_since"),
        ("limit=10001", "limit"),
    ] {
        let answer = api.get(&format!("/series?{query}")).await;
        answer.problem(400, "invalid-parameter", Some(field));
    }
    let sorted = api.get("/series?sort=id2").await;
    sorted.problem(400, "unknown-parameter", Some("sort"));
    for number in ["0", "x", "4294967296", "999"] {
        let answer = api.get(&format!("/series/{number}")).await;
        answer.problem(400, "invalid-parameter", Some("number"));
    }
    let long_name = "n".repeat(65);
    let many: BTreeMap<String, String> =
        (0..33).map(|n| (format!("t{n}"), n.to_string())).collect();
    for (tags, field, said) in [
        (
            json!({"site": "x".repeat(256)}),
            "site",
            "1 to 255 characters",
        ),
        (json!({"site": ""}), "site", "1 to 255 characters"),
        (json!({"site": " x"}), "site", "blank"),
        (json!({"site": null}), "site", "must have a value"),
        (json!({"site": 7}), "tags", "names and texts"),
        (json!({"a b": "x"}), "a b", "letters and digits"),
        (
            json!({&long_name[..64]: "x", "é": "x"}),
            "é",
            "letters and digits",
        ),
        (json!(many), "tags", "32"),
        (json!([]), "tags", "names and texts"),
    ] {
        let answer = api.put("/series/1/tags", &tags).await;
        let problem = answer.problem(400, "invalid-parameter", Some(field));
        assert!(problem["detail"].to_string().contains(said), "{problem}");
    }
    let answer = api.put("/series/999/tags", &json!({"site": "x"})).await;
    answer.problem(400, "invalid-parameter", Some("number"));
    assert_eq!(api.get("/series/1").await.json()["tags"], json!({}));
    service.close().await;
}

async fn what_no_key_answers_has_a_bound(database: Database) {
    let (schema, service) = filled(&database, Layout::Series, readings()).await;
    service.close().await;
    let service = Service::start_with(&schema, |settings| {
        take_any_time(settings);
        settings.rest.max_scanned_rows = Some(5);
    })
    .await;
    let api = Api::of(&service);
    for (query, field) in [
        ("sensor_type=humidity", "sensor_type"),
        ("seen_since=2026-01-01", "seen_since"),
    ] {
        for path in ["/series", "/series/count"] {
            let answer = api.get(&format!("{path}?{query}")).await;
            let problem = answer.problem(400, "invalid-parameter", Some(field));
            let said = problem["detail"].to_string();
            assert!(
                said.contains("more than 5 (rest.max_scanned_rows)"),
                "{said}"
            );
        }
        let narrowed = listed(&api, &format!("id1=-5&{query}")).await;
        assert!(!narrowed.is_empty(), "{query}");
    }
    assert_eq!(listed(&api, "").await.len(), NAMES.len());
    service.close().await;
}

async fn tags_are_set_merged_and_removed(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let set = api
        .put("/series/2/tags", &json!({"site": "Süd, 3", "line": "7"}))
        .await;
    assert_eq!(set.json()["tags"], json!({"site": "Süd, 3", "line": "7"}));
    let merged = patch(&api, 2, &json!({"line": null, "unit": "C", "none": null})).await;
    let tags = json!({"site": "Süd, 3", "unit": "C"});
    assert_eq!(merged.json()["tags"], tags);
    assert_eq!(api.get("/series/2").await.json()["tags"], tags);
    // Up to the most, and not one more.
    let thirty: BTreeMap<String, String> =
        (0..30).map(|n| (format!("t{n}"), "x".to_owned())).collect();
    assert_eq!(patch(&api, 2, &json!(thirty)).await.status, 200);
    let beyond = patch(&api, 2, &json!({"site": null, "one": "x", "two": "x"})).await;
    beyond.problem(400, "invalid-parameter", Some("tags"));
    let kept = api.get("/series/2").await.json();
    assert_eq!(kept["tags"].as_object().expect("tags").len(), 32);
    assert_eq!(kept["tags"]["site"], "Süd, 3");
    let set = api.put("/series/2/tags", &json!({"only": "this"})).await;
    assert_eq!(set.json()["tags"], json!({"only": "this"}));
    assert_eq!(listed(&api, "tags=only:this").await.len(), 1);
    assert_eq!(listed(&api, "tags=site:S%C3%BCd").await.len(), 0);
    service.close().await;
}

async fn many_series_are_tagged_and_a_bad_line_keeps_no_other_from_its_own(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let humidity = number_of(&api, 1, "a", "humidity").await;
    let lines = [
        format!(r#"{{"series_id":{humidity},"tags":{{"site":"north"}}}}"#),
        r#"{"id1":1,"id2":"a","sensor_type":"temperature ","tags":{"site":"north"}}"#.to_owned(),
        r#"{"series_id":999,"tags":{"site":"north"}}"#.to_owned(),
        String::new(),
        r#"{"id1":1,"id2":"nobody","sensor_type":"t","tags":{"site":"north"}}"#.to_owned(),
        "no JSON".to_owned(),
        r#"{"series_id":1,"tags":{"site":" north"}}"#.to_owned(),
    ];
    let post = |lines: Vec<String>| {
        let request = api.request(Method::PATCH, "/series");
        let request = request.header("content-type", "application/x-ndjson");
        api.send(request.body(lines.join("\n")))
    };
    let answer = post(lines.to_vec()).await;
    let problem = answer.problem(400, "invalid-readings", None);
    let tagging = &problem["tagging"];
    assert_eq!(tagging["received_count"], 6);
    assert_eq!(tagging["tagged_count"], 2);
    let rejections = tagging["rejections"].as_array().expect("a list");
    let told: Vec<_> = rejections
        .iter()
        .map(|one| (one["line"].as_u64(), one["field"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some(3), Some("series_id")),
            (Some(5), Some("series")),
            (Some(6), Some("line")),
            (Some(7), Some("tags.site"))
        ]
    );
    assert_eq!(
        listed(&api, "tags=site:north").await,
        expected(|one| one.0 == 1 && one.1 == "a" && one.2 != "temperature")
    );
    let done = post(lines[..2].to_vec()).await;
    assert_eq!(
        (done.status, &done.json()["tagged_count"]),
        (200, &json!(2))
    );
    let array = json!([{"series_id": 2, "tags": {"of": "array"}}, {"series_id": 0, "tags": {}}, 7]);
    let request = api.request(Method::PATCH, "/series").json(&array);
    let problem = api
        .send(request)
        .await
        .problem(400, "invalid-readings", None);
    let told = &problem["tagging"]["rejections"];
    assert_eq!(
        (&told[0]["line"], &told[0]["field"]),
        (&json!(2), &json!("series_id"))
    );
    assert_eq!(
        (&told[1]["line"], &told[1]["field"]),
        (&json!(3), &json!("line"))
    );
    assert_eq!(listed(&api, "tags=of:array").await.len(), 1);
    // More than one transaction takes.
    let many = (0..1_200).map(|n| format!(r#"{{"series_id":1,"tags":{{"n":"{n}"}}}}"#));
    let done = post(many.collect()).await;
    assert_eq!(done.json()["tagged_count"], 1_200);
    assert_eq!(api.get("/series/1").await.json()["tags"]["n"], "1199");
    service.close().await;
}

async fn readings_are_selected_by_tags(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let north = [
        (1, "a", "humidity"),
        (-5, "a", "temperature"),
        (2, "\\", "humidity"),
    ];
    for (id1, id2, sensor_type) in north {
        let number = number_of(&api, id1, id2, sensor_type).await;
        patch(
            &api,
            number,
            &json!({"site": "north", "line": id1.to_string()}),
        )
        .await;
    }
    let of = |answer: &Value, field: &str| -> Vec<_> {
        let found = answer[field].as_array().expect("a list").iter();
        found.map(names).collect()
    };
    let wanted: Vec<_> = north
        .iter()
        .map(|(id1, id2, kind)| (*id1, (*id2).to_owned(), (*kind).to_owned()))
        .collect();
    let span = format!(
        "from_time={}&to_time={}",
        START_S * 1_000,
        (START_S + 1_000) * 1_000
    );
    for path in [
        "/sensor/ids?".to_owned(),
        format!("/sensor/ids-time?{span}&"),
    ] {
        let found = api.get(&format!("{path}tags=site:north")).await.json();
        let found = of(&found, "readings");
        assert_eq!(found.len(), 2 * wanted.len(), "{path}");
        assert!(found.iter().all(|one| wanted.contains(one)), "{found:?}");
        let pages = api
            .pages(&format!("{path}tags=site:north"), "readings", 1)
            .await;
        assert_eq!(pages.len(), 2 * wanted.len(), "{path}");
    }
    let latest = api.get("/sensor/latest?tags=site:north").await.json();
    let latest: BTreeSet<_> = latest["latest"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| names(&one["reading"]))
        .collect();
    assert_eq!(latest, wanted.iter().cloned().collect());
    let buckets = format!("/sensor/aggregate?{span}&bucket=1d&tags=site:north,line:1");
    let buckets = api.get(&buckets).await.json();
    let found = of(&buckets, "buckets");
    assert_eq!(found, [(1, "a".to_owned(), "humidity".to_owned())]);
    assert_eq!(buckets["buckets"][0]["count"], 2);
    // Beside a pair they narrow it.
    let narrowed = api.get("/sensor/ids?id1=1&id2=a&tags=site:north").await;
    assert_eq!(narrowed.json()["count"], 2);
    let none = api.get("/sensor/ids?tags=site:south").await;
    assert_eq!(none.json()["count"], 0);
    let by_time = api
        .get(&format!("/sensor/time?{span}&tags=site:north"))
        .await;
    by_time.problem(400, "unknown-parameter", Some("tags"));
    let changed = api.delete("/sensor/delete/ids?tags=site:north").await;
    changed.problem(400, "unknown-parameter", Some("tags"));
    service.close().await;
}

async fn a_series_is_last_seen_on_the_day_on_which_a_reading_was_stored(database: Database) {
    let (schema, service) = filled(&database, Layout::Series, readings()).await;
    service.close().await;
    let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
    schema
        .run("UPDATE series SET last_seen = '2020-02-29' WHERE series_id <= 6")
        .await;
    let service = Service::start_with(&schema, take_any_time).await;
    let api = Api::of(&service);
    let old = api.get("/series/1").await.json();
    assert_eq!(old["last_seen"], "2020-02-29");
    // Of three of them readings come.
    let numbers = numbers(&api).await;
    let is_of = |one: &SensorReading| {
        let names = (one.id1, one.id2.clone(), one.sensor_type.clone());
        numbers[&names] <= 3
    };
    store(
        &service,
        "again",
        readings().into_iter().filter(is_of).collect(),
    )
    .await;
    until("it is noted", || async {
        schema.count("series WHERE last_seen = '2020-02-29'").await == 3
    })
    .await;
    let noted = api.get("/series/1").await.json();
    assert!(
        noted["last_seen"].as_str() >= Some(today.as_str()),
        "{noted}"
    );
    service.close().await;
}

async fn series_without_readings_are_removed_and_no_others(database: Database) {
    let (schema, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    let number = number_of(&api, 2, "a", "pressure").await;
    patch(&api, number, &json!({"site": "north"})).await;
    let gone = api.delete("/sensor/delete/ids?id1=2,1&id2=a,A").await;
    assert_eq!(gone.json()["deleted_count"], 4);
    let remove = async |query: &'static str| {
        let path = format!("/series?unused=true&{query}");
        api.delete(&path).await.json()["removed_count"].clone()
    };
    // They are young: a first reading may be on its way.
    assert_eq!(remove("").await, 0);
    schema
        .run("UPDATE series SET first_seen = first_seen - INTERVAL 2 HOUR")
        .await;
    assert_eq!(remove("first_seen_before=2000-01-01T00:00:00Z").await, 0);
    assert_eq!(remove("dry_run=true").await, 2);
    assert_eq!(schema.count("series").await, 12);
    assert_eq!(remove("").await, 2);
    assert_eq!(schema.count("series").await, 10);
    assert_eq!(schema.count("series_tags").await, 0);
    assert_eq!(remove("").await, 0);
    // What comes again gets a number that none had before.
    store(&service, "again", readings()).await;
    assert!(number_of(&api, 2, "a", "pressure").await > 12);
    assert_eq!(schema.count("sensor_readings WHERE id1 IS NULL").await, 0);
    service.shutdown.draining.cancel();
    service.stopped().await.expect("ends well");
}

async fn a_series_that_readings_are_about_to_get_is_not_removed(database: Database) {
    let (schema, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    // A type of which there is a series and no reading.
    let path = "/sensor/update/ids?id1=2&id2=a";
    let renamed = api.put(path, &json!({"sensor_type": "other"})).await;
    assert_eq!(renamed.json()["updated_count"], 2);
    let back = api.put(path, &json!({"sensor_type": "pressure"})).await;
    assert_eq!(back.json()["updated_count"], 2);
    schema
        .run("UPDATE series SET first_seen = first_seen - INTERVAL 2 HOUR")
        .await;
    let number = number_of(&api, 2, "a", "pressure").await;
    let mut holding = schema.connect().await;
    for statement in [
        "START TRANSACTION".to_owned(),
        format!("SELECT * FROM readings WHERE series_id = {number} FOR UPDATE"),
    ] {
        holding.query_drop(statement).await.expect("locked");
    }
    let change = json!({"sensor_type": "other"});
    let renaming = api.put(path, &change);
    let removing = async {
        until("the change waits for the reading", || async {
            schema.running(&["UPDATE readings%"]).await == 1
        })
        .await;
        let released = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            holding.query_drop("ROLLBACK").await.expect("released");
        };
        let removing = api.delete("/series?unused=true");
        tokio::join!(removing, released).0
    };
    let (renamed, removed) = tokio::join!(renaming, removing);
    assert_eq!(renamed.json()["updated_count"], 2);
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(schema.count("sensor_readings WHERE id1 IS NULL").await, 0);
    let found = api.get("/sensor/ids?id1=2&id2=a&sensor_type=other").await;
    assert_eq!(found.json()["count"], 2);
    service.close().await;
}

async fn who_tags_the_same_series_at_once_waits(database: Database) {
    let (schema, service) = filled(&database, Layout::Series, readings()).await;
    let api = Api::of(&service);
    for round in 0..8 {
        let tags = |who: u32, count: u32| -> Value {
            let tags = (0..count).map(|n| (format!("t{who}-{n}"), json!("x")));
            Value::Object(tags.collect())
        };
        api.put("/series/1/tags", &json!({})).await.json();
        let (all, some) = ([0, 1, 2, 3].map(|who| tags(who, 20)), json!({"t0-1": null}));
        let path = "/series/1/tags";
        let (one, two, three, four, five) = tokio::join!(
            patch(&api, 1, &all[0]),
            patch(&api, 1, &all[1]),
            patch(&api, 1, &all[2]),
            api.put(path, &all[3]),
            patch(&api, 1, &some),
        );
        for answer in [&one, &two, &three, &four, &five] {
            assert!([200, 400].contains(&answer.status), "{round}: {answer:?}");
        }
        assert_eq!(four.status, 200);
        let count = schema.count("series_tags WHERE series_id = 1").await;
        assert!((18..=32).contains(&count), "{round}: {count}");
    }
    let twice = json!([
        {"series_id": 2, "tags": {"a": "1", "b": "1"}},
        {"series_id": 3, "tags": {"a": "1"}},
        {"series_id": 2, "tags": {"a": null}},
    ]);
    let request = api.request(Method::PATCH, "/series").json(&twice);
    assert_eq!(api.send(request).await.json()["tagged_count"], 3);
    assert_eq!(api.get("/series/2").await.json()["tags"], json!({"b": "1"}));
    service.close().await;
}

async fn other_layouts_know_no_series(database: Database) {
    let (_, service) = filled(&database, Layout::Partitioned, readings()).await;
    let api = Api::of(&service);
    for path in [
        "/series",
        "/series/count",
        "/series/1",
        "/sensor/ids?tags=a:b",
    ] {
        let problem = api.get(path).await.problem(404, "not-found", None);
        assert!(problem["detail"].to_string().contains("layout"), "{path}");
    }
    let set = api.put("/series/1/tags", &json!({"a": "b"})).await;
    set.problem(404, "not-found", None);
    let unsaid = api.delete("/series").await;
    unsaid.problem(400, "missing-parameter", Some("unused"));
    let removed = api.delete("/series?unused=true").await;
    removed.problem(404, "not-found", None);
    service.close().await;
}

async fn the_command_lists_and_tags(database: Database) {
    let (_, service) = filled(&database, Layout::Series, readings()).await;
    let url = format!("http://{}", service.rest);
    let said = async |arguments: &[&str]| {
        let arguments = [&["series"], arguments, &["--url", &url]].concat();
        let mut command = command(&arguments);
        command.stdout(std::process::Stdio::piped());
        let output = command.output().await.expect("runs");
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    };
    let all = said(&["list"]).await;
    assert_eq!(all.lines().count(), NAMES.len());
    let limited = said(&["list", "--limit", "5"]).await;
    assert!(all.starts_with(&limited) && limited.lines().count() == 5);
    let tagged = said(&["tag", "3", "site=north", "line=7"]).await;
    assert!(tagged.ends_with("line=7 site=north\n"), "{tagged}");
    said(&["tag", "3", "line="]).await;
    let found = said(&["list", "--tags", "site:north"]).await;
    assert!(
        found.starts_with("3\t") && found.ends_with("\tsite=north\n"),
        "{found}"
    );
    assert_eq!(said(&["count", "--id1", "-5"]).await, "2\n");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines =
        "{\"series_id\":1,\"tags\":{\"a\":\"1\"}}\n{\"series_id\":2,\"tags\":{\"a\":\"1\"}}\n";
    std::fs::write(file.path(), lines).expect("written");
    let path = file.path().to_str().expect("a path");
    assert_eq!(said(&["import", "--from", path]).await, "2 series tagged\n");
    assert_eq!(
        said(&["remove-unused", "--dry-run"]).await,
        "0 series would be removed\n"
    );
    let refused = end_of(command(&["series", "tag", "99", "a=b", "--url", &url])).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("no series of this number"),
        "{refused:?}"
    );
    service.close().await;
}
