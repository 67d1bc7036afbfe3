//! The browser of series and the chart: every control.

use serde_json::{Value, json};
use sluicegate::repository::mysql::Layout;

use super::{HOURS, Page, address, filled, one_more, with_page};
use crate::sample::START_S;

/// A view of the last day of what is stored, of three of the four series.
fn last_day() -> String {
    let end = (START_S + HOURS * 3600) as f64;
    let series = json!([
        [7, "boiler-1", "temperature"],
        [7, "boiler-1", "pressure"],
        [7, "boiler-2", "temperature"]
    ]);
    address(&series, end - 86_400.0, end)
}

/// From and to, as they stand in their fields.
async fn range(page: &Page) -> Value {
    page.run(
        "return [inputs('from')[0].value, inputs('to')[0].value]",
        Value::Null,
    )
    .await
}

async fn changes(page: &Page, before: &Value) -> Value {
    let script = "return await until('another range', () => inputs('from')[0].value + inputs('to')[0].value !== given.join('') \
         && [inputs('from')[0].value, inputs('to')[0].value])";
    let after = page.run(script, before.clone()).await;
    page.until(
        "a chart of it, or the reason why there is none",
        "all('.u-over').length === 1 && !all('[aria-busy]').length || text('.panel .notice')",
    )
    .await;
    after
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_found_by_name_type_and_tag() {
    let (_database, service) = filled(Layout::Series).await;
    with_page(&service, |page| async move {
        page.open("series").await;
        page.until("all four", "all('.results li').length === 4")
            .await;
        page.until(
            "why there is no chart",
            "text('.panel .notice').includes('Choose a series')",
        )
        .await;
        assert_eq!(
            page.run("return all('.panel canvas').length", Value::Null)
                .await,
            0
        );
        page.run("fill('prefix', 'boiler-2')", Value::Null).await;
        page.until("two of them", "all('.results li').length === 2")
            .await;
        page.run("fill('sensor_type', 'pressure')", Value::Null)
            .await;
        page.until("one of them", "all('.results li').length === 1")
            .await;
        page.run(
            "fill('prefix', ''); fill('sensor_type', ''); fill('id1', '8')",
            Value::Null,
        )
        .await;
        page.until(
            "that there is none",
            "text('.browser [role=status]').includes('No series')",
        )
        .await;
        page.run("fill('id1', 'x')", Value::Null).await;
        page.until("what is wrong", "text('.browser .notice').includes('id1')")
            .await;
        page.run("fill('id1', '')", Value::Null).await;
        page.until(
            "all four again",
            "all('.results li').length === 4 && !text('.browser .notice')",
        )
        .await;
        page.run("all('button.tag')[0].click()", Value::Null).await;
        page.until(
            "the one with the tag, which has a comma in it",
            "all('.results li').length === 1",
        )
        .await;
        page.run("all('.results input')[0].click()", Value::Null)
            .await;
        page.until(
            "why the chart is empty",
            "text('.panel .notice').includes('No reading of 7 / boiler-1 / temperature')",
        )
        .await;
        page.is_accessible("series, nothing to see").await;
        page.run("press('Go to the newest reading')", Value::Null)
            .await;
        page.until(
            "the chart",
            "all('.u-over').length === 1 && /every reading: 24/.test(text('.status'))",
        )
        .await;
        page.run("press('Remove 7 / boiler-1 / temperature')", Value::Null)
            .await;
        page.until(
            "that nothing is chosen",
            "text('.panel .notice').includes('Choose a series')",
        )
        .await;
        page.run("fill('tags', '')", Value::Null).await;
        page.until("all of them", "all('.results li').length === 4")
            .await;
        assert_eq!(
            page.run("return all('.results input:checked').length", Value::Null)
                .await,
            0
        );
    })
    .await;
    service.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_moved_and_zoomed_by_button_keyboard_and_pointer() {
    let (_database, service) = filled(Layout::Series).await;
    with_page(&service, |page| async move {
        page.open(&last_day()).await;
        page.until(
            "every reading",
            "text('.status').includes('3 series, every reading: 72')",
        )
        .await;
        assert_eq!(
            page.run("return all('.legend tbody tr').length", Value::Null)
                .await,
            3
        );
        let first = range(&page).await;
        let mut now = first.clone();
        for button in ["Zoom out", "Zoom in", "Earlier", "Later", "Back"] {
            page.run("press(given)", json!(button)).await;
            now = changes(&page, &now).await;
        }
        page.run("press('Go to the newest reading')", Value::Null)
            .await;
        now = changes(&page, &now).await;
        for key in [
            "ArrowUp",
            "ArrowDown",
            "ArrowLeft",
            "ArrowRight",
            "+",
            "-",
            "Backspace",
        ] {
            page.run("key(given)", json!(key)).await;
            now = changes(&page, &now).await;
        }
        drag(&page).await;
        now = changes(&page, &now).await;
        page.run("fill('length', '3600')", Value::Null).await;
        now = changes(&page, &now).await;
        page.until(
            "the reason why there is no chart",
            "text('.panel .notice').includes('No reading of')",
        )
        .await;
        page.run(
            "fill('from', given[0]); fill('to', given[1]); submit('from')",
            first.clone(),
        )
        .await;
        changes(&page, &now).await;
        assert_eq!(range(&page).await, first);
        for (from, to, says) in [
            ("yesterday", "2026-01-02", "from_time"),
            ("2026-01-02", "2026-01-01", "to_time"),
        ] {
            page.run(
                "fill('from', given[0]); fill('to', given[1]); submit('from')",
                json!([from, to]),
            )
            .await;
            page.until(says, &format!("text('.panel .notice').includes('{says}')"))
                .await;
        }
        page.has_kept_to_itself().await;
    })
    .await;
    service.close().await;
}

/// Draws over the middle of the chart with the pointer.
async fn drag(page: &Page) {
    let script = "all('.u-over')[0].scrollIntoView({block: 'center'}); await pause(200); \
         const box = all('.u-over')[0].getBoundingClientRect(); return [box.left, box.top, box.width].map(Math.round)";
    let area = page.run(script, Value::Null).await;
    let [left, top, width] = [0, 1, 2].map(|index| area[index].as_i64().expect("a number"));
    let to = |share: i64| json!({"type": "pointerMove", "duration": 50, "x": left + width * share / 10, "y": top + 60});
    let actions = json!([to(3), {"type": "pointerDown", "button": 0}, to(5), to(7), {"type": "pointerUp", "button": 0}]);
    let pointer = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
    page.browser
        .post("actions", json!({"actions": [pointer]}))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_compares_and_its_points_can_be_read_and_saved() {
    let (_database, service) = filled(Layout::Series).await;
    with_page(&service, |page| async move {
        page.open(&last_day()).await;
        page.until("the chart", "all('.legend tbody tr').length === 3")
            .await;
        page.run("fill('compare', '604800')", Value::Null).await;
        page.until(
            "the week before",
            "all('.legend tbody tr').length === 6 && text('.legend').includes('the week before')",
        )
        .await;
        page.run("all('details.data summary')[0].click()", Value::Null)
            .await;
        page.until("the points", "all('details.data tbody tr').length === 144")
            .await;
        page.is_accessible("series").await;
        page.picture("series-dark", "dark", (1200, 860)).await;
        page.picture("series-narrow", "light", (360, 740)).await;
        page.run("fill('compare', '31536000')", Value::Null).await;
        page.until(
            "that there is nothing",
            "text('.status').includes('nothing to compare with')",
        )
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let allowed = json!({"behavior": "allow", "downloadPath": folder.path()});
        page.devtools("Browser.setDownloadBehavior", allowed).await;
        page.run("press('Download CSV')", Value::Null).await;
        page.until("the download", "text('.speed').includes('Downloaded')")
            .await;
        let saved = saved(folder.path()).await;
        let lines: Vec<_> = saved.lines().collect();
        assert_eq!(
            lines.len(),
            1 + 72,
            "one line says what the columns are: {}",
            lines[0]
        );
        assert!(lines[0].contains("sensor_value"), "{}", lines[0]);
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("pressure"))
                .count(),
            24
        );
    })
    .await;
    service.close().await;
}

/// The file that a browser has saved.
async fn saved(folder: &std::path::Path) -> String {
    loop {
        let mut files = std::fs::read_dir(folder).expect("readable").flatten();
        if let Some(file) = files.find(|file| file.path().extension().is_some_and(|it| it == "csv"))
        {
            let text = std::fs::read_to_string(file.path()).expect("text");
            if text.ends_with('\n') {
                return text;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_chart_shows_what_comes_and_says_when_it_is_cut_off() {
    let (_database, service) = filled(Layout::Series).await;
    let service = std::sync::Arc::new(service);
    let own = service.clone();
    with_page(&service, move |page| async move {
        page.open("series").await;
        page.until("the choice", "all('.results li').length === 4").await;
        page.run("press('Live')", Value::Null).await;
        page.until("that nothing is chosen", "text('.panel .notice').includes('Choose a series')").await;
        page.open(&last_day()).await;
        page.until("the chart", "all('.legend tbody tr').length === 3").await;
        page.run("press('Live')", Value::Null).await;
        page.until("what the table holds", "text('.status').startsWith('Live: ') && all('.legend tbody tr').length === 3 && text('.speed')").await;
        one_more(&own, HOURS, 123.5).await;
        page.until("what has come", "text('.legend').includes('123.5')").await;
        page.run("fill('window', '120')", Value::Null).await;
        page.until("it with a longer window", "text('.legend').includes('123.5')").await;
        page.run("press('Live')", Value::Null).await;
        page.until("the range that it ended with", "text('.status').includes('every reading')").await;
        page.run("press('Live'); await pause(500)", Value::Null).await;
        own.shutdown.draining.cancel();
        page.until("that it was ended", "text('.panel .notice').includes('shutting down') || text('.panel .notice').includes('does not answer')").await;
    })
    .await;
    let service = std::sync::Arc::into_inner(service).expect("the last one");
    service.stopped().await.expect("ends well");
}
