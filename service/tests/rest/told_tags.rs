//! Tags that producers tell of their series, over gRPC and in line protocol.

use std::collections::{BTreeMap, HashMap};

use reqwest::Method;
use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_decode::MappingSettings;
use sluicegate_proto::{
    producer::{Encoding, Producer, ProducerError},
    v1::{ColumnBatch, SensorBatch, Series, SeriesTags},
};
use tonic::Code;

use crate::{
    api::Api,
    common::{
        database::Database,
        on_each_engine,
        readings::{BASE_US, columns, resume},
        service::{AckedCall, Service},
        until,
    },
};

on_each_engine! {
    tags_that_a_producer_tells_become_those_of_the_series,
    tags_that_were_set_over_rest_stay,
    a_series_gets_its_tags_when_its_first_reading_is_stored,
    tags_that_do_not_fit_are_refused_with_their_place,
    tags_of_line_protocol_become_those_of_the_series_by_a_mapping,
    layouts_without_series_leave_tags_aside,
    a_producer_tells_tags_of_its_series,
}

async fn start(database: &Database) -> Service {
    Service::start_with(database, |settings| settings.layout = Some(Layout::Series)).await
}

type Told<'a> = &'a [(u32, &'a [(&'a str, &'a str)])];

/// A reading of each of three series, and what is said of them.
fn told(tags: Told<'_>) -> ColumnBatch {
    let series = |id2: &str| Series {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: "temperature".to_owned(),
    };
    let owned = |tags: &[(&str, &str)]| -> HashMap<String, String> {
        let owned = tags
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    ColumnBatch {
        series: ["a", "b", "ä"].map(series).to_vec(),
        extend_dictionary: false,
        series_index: vec![0, 1, 2],
        sensor_value: vec![1.0, 2.0, 3.0],
        base_timestamp_us: BASE_US,
        timestamp_delta_us: vec![1, 2, 3],
        series_tags: tags
            .iter()
            .map(|(series_index, tags)| SeriesTags {
                series_index: *series_index,
                tags: owned(tags),
            })
            .collect(),
    }
}

async fn send(service: &Service, batch: ColumnBatch) {
    let at = service.open("told").await;
    let count = batch.series_index.len() as u64;
    let mut call = AckedCall::resume(&mut service.client().await, "told", &at).await;
    call.send(columns(batch)).await;
    call.until_acked(at.committed_seq + count).await;
    call.finish().await;
}

/// The tags of each series that has some, by its second id.
async fn tags(api: &Api) -> BTreeMap<String, Value> {
    let page = api.get("/series?limit=100").await.json();
    let series = page["series"].as_array().expect("series").clone();
    let tagged = series.into_iter().map(|one| {
        let id2 = one["id2"].as_str().expect("a text").to_owned();
        (id2, one["tags"].clone())
    });
    tagged.filter(|(_, tags)| *tags != json!({})).collect()
}

async fn until_tags_are(api: &Api, expected: Value) {
    until("the tags are there", async || {
        json!(tags(api).await) == expected
    })
    .await;
}

async fn tags_that_a_producer_tells_become_those_of_the_series(database: Database) {
    let service = start(&database).await;
    let api = Api::of(&service);
    send(
        &service,
        told(&[
            (0, &[("site", "north"), ("unit", "C")]),
            (2, &[("site", "Süd \"3\"")]),
        ]),
    )
    .await;
    until_tags_are(
        &api,
        json!({"a": {"site": "north", "unit": "C"}, "ä": {"site": "Süd \"3\""}}),
    )
    .await;
    // What is told anew takes the place of what was told before; who says nothing changes nothing.
    send(&service, told(&[])).await;
    send(
        &service,
        told(&[(0, &[("site", "south")]), (1, &[("site", "west")])]),
    )
    .await;
    until_tags_are(
        &api,
        json!({"a": {"site": "south"}, "b": {"site": "west"}, "ä": {"site": "Süd \"3\""}}),
    )
    .await;
    // There, and back.
    send(&service, told(&[(0, &[("site", "north"), ("unit", "C")])])).await;
    until_tags_are(&api, json!({"a": {"site": "north", "unit": "C"}, "b": {"site": "west"}, "ä": {"site": "Süd \"3\""}})).await;
    let found = api.get("/sensor/ids?tags=site:west").await.json();
    let found = found["readings"].as_array().expect("readings");
    assert!(
        found.len() == 4 && found.iter().all(|one| one["id2"] == "b"),
        "{found:?}"
    );
    // None from now on.
    send(&service, told(&[(0, &[]), (2, &[])])).await;
    until_tags_are(&api, json!({"b": {"site": "west"}})).await;
    service.close().await;
}

async fn tags_that_were_set_over_rest_stay(database: Database) {
    let service = start(&database).await;
    let api = Api::of(&service);
    send(
        &service,
        told(&[(0, &[("site", "north")]), (2, &[("site", "east")])]),
    )
    .await;
    until_tags_are(&api, json!({"a": {"site": "north"}, "ä": {"site": "east"}})).await;
    let page = api.get("/series?id2=a").await.json();
    let number = page["series"][0]["series_id"].as_u64().expect("a number");
    let put = api
        .request(Method::PUT, &format!("/series/{number}/tags"))
        .json(&json!({"line": "7"}));
    assert_eq!(api.send(put).await.status, 200);
    send(
        &service,
        told(&[(0, &[("site", "south")]), (2, &[("site", "west")])]),
    )
    .await;
    // The one that was told with it has come.
    until_tags_are(&api, json!({"a": {"line": "7"}, "ä": {"site": "west"}})).await;
    service.close().await;
    // By another process as well, which knows nothing of what was told before.
    let service = start(&database).await;
    let api = Api::of(&service);
    send(
        &service,
        told(&[(0, &[("site", "south")]), (2, &[("site", "again")])]),
    )
    .await;
    until_tags_are(&api, json!({"a": {"line": "7"}, "ä": {"site": "again"}})).await;
    service.close().await;
}

async fn a_series_gets_its_tags_when_its_first_reading_is_stored(database: Database) {
    let service = start(&database).await;
    let api = Api::of(&service);
    // The dictionary comes first, with no reading, and one of its series never has a good one.
    let dictionary = |tags: Told<'_>| ColumnBatch {
        series_index: Vec::new(),
        sensor_value: Vec::new(),
        timestamp_delta_us: Vec::new(),
        ..told(tags)
    };
    let first: Told<'_> = &[(0, &[("site", "south")]), (1, &[("site", "nowhere")])];
    let at = service.open("told").await;
    let mut call = AckedCall::begin(&mut service.client().await, resume("told", &at)).await;
    call.send(columns(dictionary(first))).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(tags(&api).await, BTreeMap::new());
    // What is told anew is true, although the first still waits.
    call.send(columns(dictionary(&[(0, &[("site", "north")])])))
        .await;
    call.send(columns(ColumnBatch {
        extend_dictionary: true,
        series_index: vec![0, 1],
        sensor_value: vec![1.0, f64::NAN],
        base_timestamp_us: BASE_US,
        timestamp_delta_us: vec![0, 0],
        ..ColumnBatch::default()
    }))
    .await;
    call.until_acked(at.committed_seq + 2).await;
    call.finish().await;
    until_tags_are(&api, json!({"a": {"site": "north"}})).await;
    assert_eq!(database.count("series").await, 1);
    service.close().await;
}

async fn tags_that_do_not_fit_are_refused_with_their_place(database: Database) {
    let service = start(&database).await;
    let many: Vec<(String, String)> = (0..33).map(|n| (format!("t{n}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let long = "v".repeat(256);
    let long = [("site", long.as_str())];
    for (tags, said) in [
        (
            &[(3, &[("site", "north")][..])][..],
            "columns.series_tags[0].series_index",
        ),
        (
            &[(0, &[][..]), (1, &many)],
            "33 tags, and a series may have 32",
        ),
        (
            &[(0, &[("a b", "x")])],
            "the tag \"a b\" must have 1 to 64 letters",
        ),
        (
            &[(0, &long)],
            "the value of the tag \"site\" must have 1 to 255 characters",
        ),
        (
            &[(0, &[("site", " x")])],
            "must neither begin nor end with a blank",
        ),
    ] {
        let at = service.open("told").await;
        let mut call = AckedCall::resume(&mut service.client().await, "told", &at).await;
        call.send(columns(told(tags))).await;
        let status = call.failure().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        let told = format!("{} {details}", status.message());
        assert!(told.contains(said), "{said}: {status:?}");
    }
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

async fn tags_of_line_protocol_become_those_of_the_series_by_a_mapping(database: Database) {
    let influx = "{format: influx, ignored_tags: [unit, room], series_tags: [unit, site, room]}";
    let influx: MappingSettings = serde_norway::from_str(influx).expect("a mapping");
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.rest.mappings = Some([("influx".to_owned(), influx)].into());
    })
    .await;
    let api = Api::of(&service);
    let lines = "boiler,id2=B1,site=north,unit=C t=1 1767225600000000000\n\
                 boiler,id2=B1,site=north,unit=K t=2 1767225601000000000\n\
                 boiler,id2=B2,unit=C,other=x t=3 1767225602000000000\n\
                 boiler,id2=B3 t=4 1767225603000000000\n";
    let write = api
        .client
        .post(format!("http://{}/api/v2/write", service.rest))
        .body(lines);
    assert_eq!(write.send().await.expect("answers").status(), 204);
    // What tells series apart still does: `site` is in both places, `unit` is none of the id, and what the last line says is true.
    until_tags_are(
        &api,
        json!({"B1,site=north": {"site": "north", "unit": "K"}, "B2,other=x": {"unit": "C"}}),
    )
    .await;
    assert_eq!(database.count("series").await, 3);
    // A value that no tag may have costs no reading, and no other tag. What the last line says is true.
    let long = format!(
        "boiler,id2=B4 t=5 1767225604000000000\n\
         boiler,id2=B4,unit=K t=5 1767225605000000000\n\
         boiler,id2=B4,unit=C,room={} t=5 1767225606000000000\n",
        "r".repeat(300)
    );
    let write = api
        .client
        .post(format!("http://{}/api/v2/write", service.rest))
        .body(long);
    assert_eq!(write.send().await.expect("answers").status(), 204);
    assert_eq!(database.count("sensor_readings").await, 7);
    until_tags_are(
        &api,
        json!({"B1,site=north": {"site": "north", "unit": "K"}, "B2,other=x": {"unit": "C"}, "B4": {"unit": "C"}}),
    )
    .await;
    let metrics = api.client.get(format!("http://{}/metrics", service.rest));
    let metrics = metrics
        .send()
        .await
        .expect("answers")
        .text()
        .await
        .expect("a text");
    assert!(
        metrics.contains("sluicegate_told_tags_dropped_total{reason=\"unfit\"} 1"),
        "{metrics}"
    );
    service.close().await;
}

async fn layouts_without_series_leave_tags_aside(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Partitioned);
    })
    .await;
    send(&service, told(&[(0, &[("site", "north")])])).await;
    assert_eq!(database.count("sensor_readings").await, 3);
    // Without them as well.
    let reply = service
        .client()
        .await
        .send_sensor_batch(SensorBatch::default())
        .await;
    assert!(reply.is_ok());
    service.close().await;
}

async fn a_producer_tells_tags_of_its_series(database: Database) {
    let service = start(&database).await;
    let target = format!("http://{}", service.grpc);
    let producer = Producer::builder(&target).stream_id("gateway");
    let mut producer = producer.connect().await.expect("connected");
    for (name, value) in [("", "x"), ("site", " x"), ("site", "")] {
        let refused = producer.series_with_tags(1, "bad", "temperature", [(name, value)]);
        let refused = refused.expect_err("no tag");
        assert!(matches!(refused, ProducerError::Tags { .. }), "{refused}");
    }
    let a = producer.series(1, "a", "temperature");
    assert_eq!(a.index(), 0, "what is refused registers nothing");
    let tags = [("site", "north"), ("unit", "°C")];
    let b = producer.series_with_tags(1, "b", "temperature", tags);
    let b = b.expect("tags");
    for (series, at) in [(a, 0), (b, 1), (a, 2)] {
        let pushed = producer.push(series, 1.0, BASE_US + at).await;
        pushed.expect("pushed");
    }
    producer.close().await.expect("closed");
    let api = Api::of(&service);
    until_tags_are(&api, json!({"b": {"site": "north", "unit": "°C"}})).await;

    // Whoever connects again tells what is said of the series by then.
    let again = Producer::builder(&target).stream_id("gateway");
    let mut again = again.connect().await.expect("connected");
    let b = again.series_with_tags(1, "b", "temperature", [("site", "south")]);
    let pushed = again.push(b.expect("tags"), 1.0, BASE_US + 3).await;
    pushed.expect("pushed");
    again.close().await.expect("closed");
    until_tags_are(&api, json!({"b": {"site": "south"}})).await;

    let rows = Producer::builder(&target).encoding(Encoding::Rows);
    let mut rows = rows.connect().await.expect("connected");
    let refused = rows.series_with_tags(1, "c", "temperature", [("site", "south")]);
    assert!(matches!(refused, Err(ProducerError::Tags { .. })));
    drop(rows);
    service.close().await;
}
