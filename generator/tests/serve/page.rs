//! The generator's page in a real browser: every view and every control.

use serde_json::Value;
use sluicegate_page::Program;

use super::{Fake, Generator};
use crate::driver::{Page, with_page};

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_is_driven_from_its_page() {
    let fake = Fake::default();
    let target = fake.serve().await;
    let other = Generator::serve("--target http://127.0.0.1:1").await;
    let flags = format!(
        "--target http://{target} --rate 200 --bad 0.1 --fleet {},127.0.0.1:1",
        other.server.addr()
    );
    let generator = Generator::serve(&flags).await;
    with_page(
        Program::Generator,
        generator.server.addr(),
        |page| async move {
            drive(&page).await;
            settings(&page).await;
            fleet(&page).await;
            page.has_kept_to_itself().await;
        },
    )
    .await;
    generator.server.close().await;
    other.server.close().await;
}

async fn drive(page: &Page) {
    page.open("generator").await;
    page.until("the state", "text('.state').startsWith('Stopped')")
        .await;
    page.until("that it cannot be stopped", "button('Stop').disabled")
        .await;
    page.run("press('Start')", Value::Null).await;
    page.until(
        "that it runs",
        "text('.state').startsWith('Running') && button('Start').disabled",
    )
    .await;
    page.until(
        "readings",
        "/[1-9]/.test(text('.tile:nth-child(3) dd')) && text('.tile:nth-child(6)').includes('ms')",
    )
    .await;
    page.run("fill('rate', '500'); submit('rate')", Value::Null)
        .await;
    page.until("the rate", "text('.tile:nth-child(1)').includes('of 500')")
        .await;
    page.run("fill('rate', 'fast'); submit('rate')", Value::Null)
        .await;
    page.until(
        "what is wrong with a rate",
        "text('.notice').includes('rate')",
    )
    .await;
    page.run("fill('rate', 'max'); submit('rate')", Value::Null)
        .await;
    page.until(
        "no rate at all",
        "text('.tile:nth-child(1)').includes('as many as possible')",
    )
    .await;
    page.run("fill('rate', '300'); submit('rate')", Value::Null)
        .await;
    page.until("the rate over time", "all('.plot canvas').length === 1")
        .await;
    page.until(
        "why readings are rejected",
        "all('[aria-label=Reasons] tbody tr').length > 0",
    )
    .await;
    page.is_accessible("generator").await;
    page.picture("generator", "light", (1200, 640)).await;
    page.run("press('Stop')", Value::Null).await;
    page.until(
        "that it has stopped",
        "text('.state').startsWith('Stopped')",
    )
    .await;
    page.run("fill('total', '0'); submit('total')", Value::Null)
        .await;
    page.until(
        "what is wrong with a burst",
        "text('.notice').includes('total')",
    )
    .await;
    page.run("fill('total', '50'); submit('total')", Value::Null)
        .await;
    page.until(
        "the burst",
        "/^50 sent, .* in .*s\\.$/m.test(text('.card [role=status]'))",
    )
    .await;
}

async fn settings(page: &Page) {
    page.open("settings").await;
    page.until(
        "the settings",
        "inputs('types')[0]?.value.startsWith('temperature:1,')",
    )
    .await;
    page.run("fill('late', '2'); submit('late')", Value::Null)
        .await;
    page.until("what is wrong", "text('.notice').includes('late')")
        .await;
    let change = "fill('late', '0.1'); fill('types', 'steam:2,noise'); fill('mode', 'batch'); fill('batch_size', '10'); submit('late')";
    page.run(change, Value::Null).await;
    page.until(
        "that they are saved",
        "text('[role=status]').includes('Saved') && !text('.notice')",
    )
    .await;
    page.is_accessible("settings").await;
    page.open("settings").await;
    page.until("them again", "inputs('types')[0]?.value === 'steam:2,noise:1' && inputs('batch_size')[0].value === '10' && inputs('mode')[0].value === 'batch'").await;
    page.run("fill('batch_size', ''); submit('late')", Value::Null)
        .await;
    page.until(
        "that it is no more",
        "text('[role=status]').includes('Saved') && inputs('batch_size')[0].value === ''",
    )
    .await;
}

async fn fleet(page: &Page) {
    page.open("fleet").await;
    page.until("the fleet", "text('.state') === '0 of 2 run'")
        .await;
    page.until("the other one", "text('[aria-label=Generators]').includes('Stopped') || text('[aria-label=Generators]').includes('stopped')").await;
    page.until("who is missing", "text('main').includes('127.0.0.1:1')")
        .await;
    page.is_accessible("fleet").await;
    page.picture("fleet", "dark", (1200, 640)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_generator_asks_for_its_token_and_says_that_it_has_no_fleet() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"a-secret-of-theirs\n").unwrap();
    let generator = Generator::serve(&format!("--api-token-file {}", file.path().display())).await;
    with_page(
        Program::Generator,
        generator.server.addr(),
        |page| async move {
            page.open("fleet").await;
            page.until(
                "the question for a token",
                "document.querySelector('dialog').open",
            )
            .await;
            page.run(
                "fill('token', 'a-secret-of-theirs'); submit('token')",
                Value::Null,
            )
            .await;
            page.until(
                "that there is no fleet",
                "text('.notice').includes('--fleet')",
            )
            .await;
        },
    )
    .await;
    generator.server.close().await;
}
