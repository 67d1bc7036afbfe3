//! The page at `/` in a real browser, over a real service. `driver.rs` says what is needed for it.

pub(crate) mod driver;
mod live;
mod million;
mod series;
mod shell;
mod state;

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_page::Program;
use sluicegate_proto::v1::SensorReading;

use self::driver::Page;
use crate::{
    api::Api,
    common::{database::Database, engines::engines, service::Service},
    sample::{START_S, service as service_of, store},
};

fn is_there() -> bool {
    driver::is_there(Program::Service)
}

async fn with_page<F>(service: &Service, act: impl FnOnce(Page) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    driver::with_page(Program::Service, service.rest, act).await;
}

async fn database() -> Database {
    let (engine, _) = engines().remove(0);
    Database::create(engine).await.expect("it is selected")
}

/// Hours of which there are readings.
const HOURS: i64 = 15 * 24;

/// Four series, an hour between two readings, one of them with a tag; and three readings that were rejected.
async fn filled(layout: Layout) -> (Database, Service) {
    let (database, service) = service_of(&database().await, layout).await;
    let reading = |n: i64| {
        let (hour, which) = (n / 4, n % 4);
        let is_bad = hour == 100 && which < 3;
        SensorReading {
            sensor_value: Some(if is_bad {
                f64::NAN
            } else {
                20.0 + which as f64 + (hour % 24) as f64 / 4.0
            }),
            sensor_type: ["temperature", "pressure"][which as usize % 2].to_owned(),
            id1: 7,
            id2: ["boiler-1", "boiler-2"][which as usize / 2].to_owned(),
            timestamp_us: Some((START_S + hour * 3600) * 1_000_000),
        }
    };
    let at = service.open("press").await;
    let batch = sluicegate_proto::v1::SensorBatch {
        readings: (0..HOURS * 4).map(reading).collect(),
        position: Some(crate::common::readings::position("press", at.epoch, 1)),
    };
    let reply = service.client().await.send_sensor_batch(batch).await;
    assert_eq!(reply.expect("stored").into_inner().rejected, 3);
    if layout == Layout::Series {
        let api = Api::of(&service);
        let found = api
            .get("/series?id1=7&id2=boiler-1&sensor_type=temperature")
            .await
            .json();
        let number = &found["series"][0]["series_id"];
        let tagged = api
            .put(
                &format!("/series/{number}/tags"),
                &json!({"site": "north, hall 2"}),
            )
            .await;
        assert_eq!(tagged.status, 200, "{}", tagged.text());
    }
    (database, service)
}

/// One more reading, of the first of the four.
async fn one_more(service: &Service, hour: i64, value: f64) {
    let reading = SensorReading {
        sensor_value: Some(value),
        sensor_type: "temperature".to_owned(),
        id1: 7,
        id2: "boiler-1".to_owned(),
        timestamp_us: Some((START_S + hour * 3600) * 1_000_000),
    };
    store(service, "one-more", vec![reading]).await;
}

/// A view of some series and a range, as an address says it.
fn address(series: &Value, from_s: f64, to_s: f64) -> String {
    let series = percent_encoding::utf8_percent_encode(
        &series.to_string(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    format!("series?series={series}&from={from_s}&to={to_s}")
}
