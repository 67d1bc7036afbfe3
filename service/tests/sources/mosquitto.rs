//! Mosquitto for the tests of MQTT.

use crate::common::{
    bounded,
    brokers::mosquitto::{Mosquitto, Options},
    certs::Authority,
};

/// A session that outlives its connection, and its subscription.
const SESSION: [&str; 8] = ["-i", "reader", "-c", "-q", "1", "-t", "readings/#", "-W"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_starts_is_killed_and_comes_back_with_its_data() {
    let Some(mut broker) = Mosquitto::start(Options::default()).await else {
        return;
    };
    bounded(async {
        let port = broker.port();
        broker
            .subscribe(&["-E", "-i", "reader", "-c", "-q", "1", "-t", "readings/#"])
            .await;
        for message in ["one", "two"] {
            broker.publish("readings/a", message, &["-q", "1"]).await;
        }
        broker.settle().await;
        broker.kill();
        broker.start_again().await;
        assert_eq!(broker.port(), port);
        let kept = broker
            .subscribe(&[&SESSION[..], &["20", "-C", "2"]].concat())
            .await;
        assert_eq!(kept, "one\ntwo\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_asks_for_passwords_and_shows_a_certificate() {
    let authority = Authority::new();
    let options = Options {
        settings: &["max_inflight_messages 1"],
        users: &[("sensor", "of the roof"), ("other", "password")],
        authority: Some(&authority),
        ..Options::default()
    };
    let Some(broker) = Mosquitto::start(options).await else {
        return;
    };
    bounded(async {
        broker
            .publish("readings/a", "one", &["-r", "-q", "1"])
            .await;
        let retained = broker
            .subscribe(&["-t", "readings/a", "-C", "1", "-W", "20"])
            .await;
        assert_eq!(retained, "one\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_broker_outlives_a_test_that_fails() {
    let Some(broker) = Mosquitto::start(Options::default()).await else {
        return;
    };
    let (port, dir) = (broker.port(), broker.dir().to_owned());
    assert!(dir.exists());
    let test = tokio::spawn(async move {
        let _broker = broker;
        panic!("as a test that fails");
    });
    test.await.expect_err("it fails");
    assert!(!dir.exists(), "{dir:?}");
    let nobody = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    nobody.expect_err("nobody listens");
}
