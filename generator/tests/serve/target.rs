//! Targets that are away, go away, or refuse.

use reqwest::Method;
use serde_json::json;

use crate::{Generator, fake::Fake, number, port::Port};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_is_shown_and_heals_by_itself() {
    for mode in ["stream-acked", "unary"] {
        let port = Port::reserve();
        let target = port.address;
        let generator = Generator::serve(&format!(
            "--target http://{target} --rate 1000 --mode {mode}"
        ))
        .await;
        generator.ask(Method::POST, "/start", None).await;
        let away = generator
            .until("it is away", |stats| {
                stats["target"]["reachable"] == json!(false)
            })
            .await;
        assert_eq!(
            (&away["state"], number(&away, "sent")),
            (&json!("connecting"), 0)
        );
        assert!(
            away["target"]["trouble"]
                .as_str()
                .unwrap()
                .contains("refused"),
            "{away}"
        );
        let fake = Fake::default();
        let runtime = port.serve(&fake);
        let healed = generator
            .until("it heals", |stats| number(stats, "acknowledged") > 100)
            .await;
        assert_eq!(healed["state"], "running");
        generator
            .until("it is reachable", |stats| {
                stats["target"]["reachable"] == json!(true)
            })
            .await;
        generator.ask(Method::POST, "/stop", None).await;
        generator.server.close().await;
        runtime.shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_in_the_midst_is_shown_and_heals_by_itself() {
    for mode in ["stream-acked", "unary"] {
        let port = Port::reserve();
        let target = port.address;
        // The model remembers over the outage, as a database does.
        let fake = Fake::default();
        let runtime = port.serve(&fake);
        let generator = Generator::serve(&format!(
            "--target http://{target} --rate 1000 --mode {mode}"
        ))
        .await;
        generator.ask(Method::POST, "/start", None).await;
        generator
            .until("it sends", |stats| number(stats, "acknowledged") > 100)
            .await;
        runtime.shutdown_background();
        let away = generator
            .until("it is away", |stats| {
                stats["target"]["reachable"] == json!(false)
            })
            .await;
        assert!(
            away["target"]["trouble"]
                .as_str()
                .unwrap()
                .contains("refused"),
            "{away}"
        );
        assert_eq!(away["running"], json!(true));
        let runtime = port.serve(&fake);
        let before = number(&generator.stats().await, "acknowledged");
        generator
            .until("it heals", |stats| {
                number(stats, "acknowledged") > before + 100
                    && stats["target"]["reachable"] == json!(true)
                    && stats["target"]["trouble"].is_null()
            })
            .await;
        let (status, last) = generator.ask(Method::POST, "/stop", None).await;
        assert_eq!(status, 200);
        let settled = number(&last, "acknowledged") + number(&last, "failed");
        assert_eq!(number(&last, "sent"), settled, "{last}");
        // A call that broke may have stored its reading: then it counts as failed.
        let stored = fake.model().stored.len() as u64;
        assert!(
            (number(&last, "acknowledged")..=settled).contains(&stored),
            "{stored} stored: {last}"
        );
        if mode == "stream-acked" {
            assert_eq!((number(&last, "failed"), settled), (0, stored), "{last}");
        }
        generator.server.close().await;
        runtime.shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_that_the_target_refuses_are_counted_with_its_reason() {
    for mode in ["stream-acked", "stream", "batch", "unary"] {
        let fake = Fake::default();
        let target = format!("http://{}", fake.serve().await);
        let flags = format!("--target {target} --rate 5000 --mode {mode} --bad 0.5");
        let generator = Generator::serve(&flags).await;
        generator.ask(Method::POST, "/start", None).await;
        generator
            .until("it sends", |stats| number(stats, "sent") > 500)
            .await;
        let (_, last) = generator.ask(Method::POST, "/stop", None).await;
        // The model refuses what is not a number: one kind of five.
        let stored = fake.model().stored.len() as u64;
        assert_eq!(number(&last, "acknowledged"), stored, "{mode}: {last}");
        assert_eq!(
            number(&last, "rejected"),
            number(&last, "sent") - stored,
            "{mode}: {last}"
        );
        let reasons = last["rejections"].as_array().unwrap();
        assert_eq!(reasons.len(), 1, "{mode}: {last}");
        assert!(
            reasons[0]["reason"]
                .as_str()
                .unwrap()
                .contains("not a number"),
            "{last}"
        );
        assert_eq!(
            number(&reasons[0], "readings"),
            number(&last, "rejected"),
            "{mode}: {last}"
        );
        generator.server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_every_call_is_shown_with_its_reason_until_it_takes_them() {
    for mode in ["stream-acked", "unary"] {
        let fake = Fake::default();
        fake.model().refuse = Some(tonic::Code::PermissionDenied);
        let target = format!("http://{}", fake.serve().await);
        let flags = format!("--target {target} --rate 1000 --mode {mode}");
        let generator = Generator::serve(&flags).await;
        generator.ask(Method::POST, "/start", None).await;
        let refused = generator
            .until("it is refused", |stats| number(stats, "failed") > 0)
            .await;
        assert!(
            refused["target"]["trouble"]
                .as_str()
                .unwrap()
                .contains("refused on purpose"),
            "{refused}"
        );
        fake.model().refuse = None;
        generator
            .until("it heals", |stats| {
                number(stats, "acknowledged") > 100 && stats["target"]["trouble"].is_null()
            })
            .await;
        generator.server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_reached_and_takes_nothing_is_shown_with_its_reason() {
    for mode in ["stream", "stream-acked", "batch", "unary"] {
        let fake = Fake::default();
        let target = format!("http://{}", fake.serve().await);
        let flags = format!("--target {target} --rate 1000 --mode {mode}");
        let generator = Generator::serve(&flags).await;
        generator.ask(Method::POST, "/start", None).await;
        generator
            .until("it sends", |stats| number(stats, "sent") > 100)
            .await;
        {
            let mut model = fake.model();
            model.refuse = Some(tonic::Code::Unavailable);
            model.break_every = Some(1);
        }
        let refused = generator
            .until("it says why", |stats| {
                let trouble = stats["target"]["trouble"].as_str().unwrap_or_default();
                trouble.contains("refused on purpose") && stats["state"] == "connecting"
            })
            .await;
        assert_eq!(refused["target"]["reachable"], json!(true), "{mode}");
        assert!(number(&refused, "reconnects") > 0 || !mode.starts_with("stream"));
        {
            let mut model = fake.model();
            (model.refuse, model.break_every) = (None, None);
        }
        let sent = number(&refused, "sent");
        generator
            .until("it heals", |stats| {
                number(stats, "sent") > sent + 100
                    && stats["target"]["trouble"].is_null()
                    && stats["state"] == "running"
            })
            .await;
        generator.server.close().await;
    }
}
