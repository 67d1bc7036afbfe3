//! Clusters that show a certificate and ask who comes.

use sluicegate::config::SourceSettings;

use crate::{
    common::{
        brokers::kafka::{Kafka, Options},
        certs::Authority,
        database::Database,
        until,
    },
    fetching::{service, source_of, standing, stored},
    topics::Records,
};

on_mariadb! {
    a_password_is_proven_by_every_mechanism,
    who_is_not_let_in_is_told_why,
}

const RECORDS: u64 = 50;
const USER: &str = "sensor";
const PASSWORD: &str = "of the roof";

/// A cluster with records, its authority, and a folder for passwords.
async fn guarded(authority: &Authority) -> Option<Kafka> {
    let options = Options {
        authority: Some(authority),
        users: &[(USER, PASSWORD)],
        ..Options::default()
    };
    let kafka = Kafka::start(options).await?;
    kafka.create_topic("readings", 1, &[]).await;
    let records = Records::to(&kafka);
    records.send("readings", 0, 0..RECORDS).await;
    Some(kafka)
}

fn source(
    kafka: &Kafka,
    cluster: usize,
    mechanism: &str,
    ca: &str,
    password: &str,
) -> SourceSettings {
    source_of(&format!(
        "kafka: {{brokers: ['{}'], topics: [readings], cluster: c{cluster}, group: g{cluster}, tls: {{ca: '{ca}'}}, \
         sasl: {{mechanism: {mechanism}, username: {USER}, password: {{file: '{password}'}}}}}}",
        kafka.secured_servers()
    ))
}

fn file_with(folder: &tempfile::TempDir, name: &str, secret: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, secret).expect("written");
    path.display().to_string()
}

mod steps {
    use super::*;

    pub(super) async fn a_password_is_proven_by_every_mechanism(database: Database) {
        let authority = Authority::new();
        let Some(kafka) = guarded(&authority).await else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let password = file_with(&folder, "password", PASSWORD);
        let ca = authority.path("ca.pem");
        for (number, mechanism) in (1..).zip(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
            let source = source(&kafka, number, mechanism, &ca, &password);
            let service = service(&database, source).await;
            let expected = number as u64 * RECORDS;
            until(&format!("{mechanism} lets it in"), || async {
                stored(&database).await == (expected, RECORDS)
            })
            .await;
            service.close().await;
        }
    }

    pub(super) async fn who_is_not_let_in_is_told_why(database: Database) {
        let authority = Authority::new();
        let Some(kafka) = guarded(&authority).await else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let password = file_with(&folder, "password", PASSWORD);
        let wrong = file_with(&folder, "wrong", "of the cellar");
        let stranger = Authority::new();
        let ca = authority.path("ca.pem");
        for (ca, password, words) in [
            (ca.as_str(), wrong.as_str(), "uthentication"),
            (&stranger.path("ca.pem"), &password, "certificate"),
        ] {
            let source = SourceSettings {
                optional: true,
                ..source(&kafka, 9, "SCRAM-SHA-512", ca, password)
            };
            let service = service(&database, source).await;
            until(&format!("{words} is told"), || async {
                let told = standing(&service).await;
                let reason = told["reason"].as_str().unwrap_or_default();
                assert!(!reason.contains("cellar"), "{reason}");
                told["state"] != "running" && reason.contains(words)
            })
            .await;
            service.close().await;
        }
        assert_eq!(stored(&database).await, (0, 0));
    }
}
