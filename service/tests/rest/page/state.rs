//! State and quarantine.

use serde_json::Value;
use sluicegate::repository::mysql::Layout;

use super::{HOURS, filled, with_page};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_that_of_the_service() {
    let (_database, service) = filled(Layout::Series).await;
    let sent = HOURS * 4;
    with_page(&service, move |page| async move {
        page.open("state").await;
        page.until("the state", "text('.state') === 'Ready: readings flow'")
            .await;
        page.until("the lanes", "text('[aria-label=Lanes] tbody tr')")
            .await;
        let books = page.text("[aria-label=Books] tbody").await;
        let shown: String = books
            .chars()
            .filter(|it| it.is_ascii_digit() || it.is_whitespace())
            .collect();
        let mut shown = shown
            .split_whitespace()
            .map(|it| it.parse::<i64>().expect("a figure"));
        assert_eq!(
            shown.by_ref().take(3).collect::<Vec<_>>(),
            [sent, sent - 3, 3],
            "{books}"
        );
        page.until("that they balance", "text('main').includes('They balance')")
            .await;
        page.until(
            "the quarantine",
            "text('.tile:nth-child(6) dd').startsWith('3')",
        )
        .await;
        page.until(
            "why",
            "text('[aria-label=Reasons]').includes('not a finite number')",
        )
        .await;
        page.until(
            "the source",
            "text('[aria-label=Sources]').includes('paused')",
        )
        .await;
        page.until(
            "the partitions",
            "text('[aria-label=Partitions]').includes('ahead')",
        )
        .await;
        page.until(
            "the layout",
            "text('[aria-label=Storage]').includes('series')",
        )
        .await;
        page.until("the rate over time", "all('.plot canvas').length === 1")
            .await;
        page.is_accessible("state").await;
        page.picture("state", "light", (1200, 860)).await;
        page.has_kept_to_itself().await;
    })
    .await;
    service.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quarantine_can_be_looked_through() {
    let (_database, service) = filled(Layout::Series).await;
    with_page(&service, |page| async move {
        page.open("quarantine").await;
        page.until("all of it", "all('main tbody tr').length === 3")
            .await;
        let rows = page.text("main tbody").await;
        assert!(
            rows.contains("press") && rows.contains("NaN") && rows.contains("boiler-2"),
            "{rows}"
        );
        page.run(
            "fill('reason', 'no such reason'); submit('reason')",
            Value::Null,
        )
        .await;
        page.until(
            "that there is none",
            "text('main [role=status]').includes('Nothing is in quarantine')",
        )
        .await;
        page.run(
            "fill('reason', 'FINITE'); fill('from_time', 'yesterday'); submit('reason')",
            Value::Null,
        )
        .await;
        page.until("what is wrong", "text('.notice').includes('from_time')")
            .await;
        page.run("fill('from_time', ''); submit('reason')", Value::Null)
            .await;
        page.until(
            "them again",
            "all('main tbody tr').length === 3 && !text('.notice')",
        )
        .await;
        page.is_accessible("quarantine").await;
        page.picture("quarantine", "light", (1200, 520)).await;
        page.run("press('Download CSV')", Value::Null).await;
        page.until(
            "the download",
            "text('main [role=status]').includes('Downloaded')",
        )
        .await;
    })
    .await;
    service.close().await;
}
