//! Twenty series, a thousand readings a second of each, as they come.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, Series};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{address, database, is_there, with_page};
use crate::{
    common::{
        readings::columns,
        service::{AckedCall, Service},
    },
    sample::service as service_of,
};

const SERIES: usize = 20;
const RATE: usize = 1_000;
/// Between two messages.
const STEP: Duration = Duration::from_millis(100);

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_micros() as i64
}

/// The readings of the step that has just passed. The value is that of the message in all of them.
fn batch(number: u64) -> ColumnBatch {
    let each = RATE * STEP.as_millis() as usize / 1_000;
    let count = SERIES * each;
    let name = |n: usize| Series {
        id1: 1,
        id2: format!("fast-{n:02}"),
        sensor_type: "pressure".to_owned(),
    };
    let step_us = STEP.as_micros() as i64 / each as i64;
    ColumnBatch {
        series: (0..SERIES).map(name).collect(),
        extend_dictionary: false,
        series_index: (0..count).map(|n| (n % SERIES) as u32).collect(),
        sensor_value: (0..count)
            .map(|n| number as f64 + (n % SERIES) as f64 / 100.0)
            .collect(),
        base_timestamp_us: now_us() - STEP.as_micros() as i64,
        timestamp_delta_us: (0..count).map(|n| (n / SERIES) as i64 * step_us).collect(),
        series_tags: Vec::new(),
    }
}

/// Sends until it is told to end, and tells the number of the last message then.
async fn send(service: Arc<Service>, ending: CancellationToken, last: watch::Sender<Option<u64>>) {
    let at = service.open("fast").await;
    let call = AckedCall::resume(&mut service.client().await, "fast", &at).await;
    let mut ticks = tokio::time::interval(STEP);
    let mut number = 0;
    while !ending.is_cancelled() {
        ticks.tick().await;
        number += 1;
        call.send(columns(batch(number))).await;
    }
    call.finish().await;
    last.send_replace(Some(number));
}

/// How old the newest reading was, seconds, and how long it took to draw, milliseconds, each half second; and the rate at the end.
const WATCH: &str = r#"
    const looks = [];
    for (let n = 0; n < 24; n += 1) {
        await pause(500);
        const [, drawn, age, unit] = /drawn (\d+) ms .* is ([\d.,]+) (ms|s) old/.exec(text(".speed")) ?? [];
        looks.push([Number(age) / (unit === "ms" ? 1000 : 1), Number(drawn)]);
    }
    const [, rate] = /([\d,]+) readings a second/.exec(text(".status"));
    return { looks, rate: Number(rate.replaceAll(",", "")) };
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_up_with_twenty_series_of_a_thousand_readings_a_second() {
    if !is_there() {
        return;
    }
    let (_database, service) = service_of(&database().await, Layout::Series).await;
    let service = Arc::new(service);
    let ending = CancellationToken::new();
    let (last, mut sent) = watch::channel(None);
    let sending = tokio::spawn(send(service.clone(), ending.clone(), last));
    let end = ending.clone();
    with_page(&service, |page| async move {
        let series: Vec<_> = (0..SERIES).map(|n| json!([1, format!("fast-{n:02}"), "pressure"])).collect();
        let now_s = now_us() as f64 / 1e6;
        page.open(&address(&json!(series), now_s - 60.0, now_s)).await;
        page.until("the page", "button('Live')").await;
        page.run("press('Live')", Value::Null).await;
        page.until("all of them", "all('.legend tbody tr').length === 20 && /[1-9][\\d,]+ readings a second/.test(text('.status'))").await;
        let seen = page.run(WATCH, Value::Null).await;
        page.picture("live", "dark", (1200, 860)).await;
        let mut looks: Vec<(f64, f64)> = serde_json::from_value(seen["looks"].clone()).expect("looks");
        let last = looks[looks.len() - 1].0;
        looks.sort_by(|one, two| one.0.total_cmp(&two.0));
        let (median, worst) = (looks[looks.len() / 2].0, looks[looks.len() - 1].0);
        eprintln!("the newest reading was {median} s old in the median, {worst} s at the worst, {last} s at the end: {seen}");
        // Twelve seconds at a rate that the page could not follow would leave it seconds behind.
        assert!(median < 1.0 && last < 2.0, "{seen}");
        let rate = seen["rate"].as_u64().expect("a rate") as usize;
        assert!(rate > SERIES * RATE * 8 / 10, "every reading is counted: {seen}");
        end.cancel();
        let sent = sent.wait_for(Option::is_some).await.expect("sent").expect("a number");
        let newest = format!("all('.legend tbody tr').every((it, n) => it.innerText.includes(String({sent} + n / 100)))");
        page.until("the last of what was sent", &newest).await;
    })
    .await;
    ending.cancel();
    sending.await.expect("sent");
    Arc::into_inner(service)
        .expect("the last one")
        .close()
        .await;
}
