//! TLS on both ports: what is spoken there, who is trusted, and certificates that are replaced.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::ClientConfig;
use sluicegate_proto::{
    producer::{Producer, ProducerBuilder},
    v1::sensor_service_client::SensorServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::common::{
    certs::Authority,
    database::Database,
    on_each_engine,
    program::{Program, command, end_of, terminated_at},
    readings::{assert_stored, reading},
    service::Client,
    until, web,
};

on_each_engine! {
    both_ports_speak_tls_and_nothing_else,
    a_client_whose_certificate_is_not_trusted_is_refused,
    a_port_that_others_reach_wants_tls_and_tokens,
    a_new_pair_is_taken_while_calls_go_on,
    what_does_not_fit_changes_nothing_and_is_said_once,
    a_connection_that_has_reached_its_age_goes_on_elsewhere,
}

async fn start(database: &Database, authority: &Authority, more: &[&str]) -> Program {
    let flags = authority.flags();
    let flags: Vec<&str> = flags
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    Program::start(&database.url(), &flags).await
}

async fn client(program: &Program, authority: &Authority) -> Client {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem("ca.pem")));
    let endpoint = Channel::from_shared(format!("https://{}", program.grpc)).expect("an address");
    let endpoint = endpoint.tls_config(tls).expect("a configuration");
    SensorServiceClient::new(endpoint.connect().await.expect("connects"))
}

fn producer(program: &Program, authority: &Authority, stream_id: &str) -> ProducerBuilder {
    Producer::builder(format!("https://{}", program.grpc))
        .tls_ca(authority.pem("ca.pem"))
        .stream_id(stream_id)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
}

fn asking(authority: &Authority) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(&authority.pem("ca.pem")).expect("a certificate");
    let client = web::builder().tls_certs_only([ca]);
    client.build().expect("a client")
}

/// A handshake that offers these protocols.
async fn shake_hands(
    addr: SocketAddr,
    mut config: ClientConfig,
    offered: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    config.alpn_protocols = offered
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(addr).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(addr.ip().into(), stream).await?;
    // In TLS 1.3 the client is done before the server has judged its certificate.
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut first = [0];
    match tokio::time::timeout(Duration::from_secs(5), stream.read(&mut first)).await {
        Ok(Err(error)) => Err(error),
        _ => Ok(stream),
    }
}

fn agreed(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
}

async fn both_ports_speak_tls_and_nothing_else(database: Database) {
    let authority = Authority::new();
    let program = start(&database, &authority, &[]).await;

    let stored = client(&program, &authority)
        .await
        .send_sensor_reading(reading(1))
        .await;
    assert_eq!(stored.expect("stored").into_inner().committed, 1);
    let mut producer = producer(&program, &authority, "press-4")
        .connect()
        .await
        .expect("opens");
    assert_eq!(producer.send(reading(1)).await.expect("taken"), 1);
    producer.flush().await.expect("committed");
    assert_eq!(database.count("sensor_readings").await, 2);

    let url = format!("https://{}/readyz", program.rest);
    let answer = asking(&authority).get(&url).send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    // Nobody who trusts the system's authorities alone trusts this one.
    let stranger = web::client().get(&url).send().await.expect_err("untrusted");
    assert!(
        format!("{stranger:?}").contains("UnknownIssuer"),
        "{stranger:?}"
    );

    // Each port agrees on what it speaks.
    for (addr, offered, expected) in [
        (program.rest, &["h2", "http/1.1"][..], Some("h2")),
        (program.rest, &["http/1.1"], Some("http/1.1")),
        (program.rest, &[], None),
        (program.grpc, &["h2"], Some("h2")),
        (program.grpc, &[], None),
    ] {
        let stream = shake_hands(addr, authority.client_config(None), offered).await;
        let agreed = agreed(&stream.expect("shaken"));
        assert_eq!(
            agreed.as_deref(),
            expected.map(str::as_bytes),
            "{offered:?}"
        );
    }
    let refused = shake_hands(program.grpc, authority.client_config(None), &["http/1.1"]).await;
    let refused = refused.expect_err("gRPC is no HTTP/1").to_string();
    assert!(refused.contains("ApplicationProtocol"), "{refused}");

    // Who does not speak TLS is told, and nothing else.
    for addr in [program.rest, program.grpc] {
        let mut plain = TcpStream::connect(addr).await.expect("connects");
        plain
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.expect("answered");
        assert!(
            answer.starts_with("HTTP/1.1 400 ")
                && answer.ends_with("This port speaks TLS: use https://.\n"),
            "{answer}"
        );
    }

    let rest = program.rest.to_string();
    let healthy = command(&["healthcheck", "--rest-addr", &rest, "--tls"]);
    let healthy = end_of(healthy).await;
    assert_eq!(healthy.code, Some(0), "{}", healthy.stderr);
    let plain = end_of(command(&["healthcheck", "--rest-addr", &rest])).await;
    assert_eq!(plain.code, Some(1));
    assert!(plain.stderr.contains("400"), "{}", plain.stderr);
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn a_client_whose_certificate_is_not_trusted_is_refused(database: Database) {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.client("press-4");
    other.client("press-4");
    let ca = format!("--tls-client-ca={}", authority.path("ca.pem"));
    let tokens = authority.path("tokens.yaml");
    let known = "certificates:\n- {subject: CN=press-4, principal: press-4, scopes: [ingest]}\n";
    write_secret(&tokens, known);
    let tokens = format!("--auth-tokens={tokens}");
    let flags = authority.flags();
    let mut alone = vec!["serve", "--embedded-db", &ca];
    alone.extend(flags.iter().map(String::as_str));
    let alone = end_of(command(&alone)).await;
    assert_eq!(alone.code, Some(2));
    assert!(
        alone
            .stderr
            .contains("tls.client_ca is given, but must be absent while auth.tokens is"),
        "{}",
        alone.stderr
    );

    let program = start(&database, &authority, &[&ca, &tokens]).await;
    for addr in [program.rest, program.grpc] {
        // Health is for all, so that one without a certificate gets in, as far as that goes.
        for identity in [None, Some((&authority, "press-4"))] {
            let shaken = shake_hands(addr, authority.client_config(identity), &[]).await;
            shaken.expect("shaken");
        }
        let stranger = authority.client_config(Some((&other, "press-4")));
        let refused = shake_hands(addr, stranger, &[]).await.expect_err("refused");
        let refused = refused.to_string();
        assert!(
            refused.contains("UnknownCA") || refused.contains("DecryptError"),
            "{refused}"
        );
    }
    let nobody = client(&program, &authority)
        .await
        .send_sensor_reading(reading(1))
        .await;
    assert_eq!(nobody.expect_err("unknown").code(), Code::Unauthenticated);
    let named = producer(&program, &authority, "press-4")
        .tls_identity(authority.pem("press-4.pem"), authority.pem("press-4.key"));
    let mut named = named.connect().await.expect("opens");
    named.send(reading(1)).await.expect("taken");
    named.flush().await.expect("committed");
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

/// A file that nobody else may read.
fn write_secret(path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("written");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).expect("set");
}

/// Each kind of address, with what is missing there.
async fn a_port_that_others_reach_wants_tls_and_tokens(database: Database) {
    let authority = Authority::new();
    let tokens = authority.path("tokens.yaml");
    write_secret(&tokens, "tokens: []\n");
    let tokens = format!("--auth-tokens={tokens}");
    let url = database.url();
    let tls = authority.flags();
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let free = "127.0.0.1:0";
    let both = "no TLS (tls.cert, tls.key) and no authentication (auth.tokens)";
    for (grpc, rest, flags, key, missing) in [
        ("0.0.0.0:0", free, vec![], "grpc_addr is 0.0.0.0:0", both),
        (free, "[::]:0", vec![], "rest_addr is [::]:0", both),
        (
            "192.0.2.1:1",
            free,
            vec![],
            "grpc_addr is 192.0.2.1:1",
            both,
        ),
        (
            "0.0.0.0:0",
            free,
            tls.clone(),
            "grpc_addr",
            "no authentication (auth.tokens)",
        ),
        (
            "0.0.0.0:0",
            free,
            vec![&*tokens],
            "grpc_addr",
            "no TLS (tls.cert, tls.key)",
        ),
    ] {
        let mut refused = command(&[
            "serve",
            "--database-url",
            &url,
            "--grpc-addr",
            grpc,
            "--rest-addr",
            rest,
        ]);
        refused.args(&flags);
        let ended = end_of(refused).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(key) && ended.stderr.contains(missing),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("--insecure"), "{}", ended.stderr);
    }
    let open = [
        "serve",
        "--database-url",
        &url,
        "--grpc-addr",
        "0.0.0.0:0",
        "--rest-addr",
        free,
    ];
    for (flags, warns) in [
        (vec!["--insecure"], true),
        ([&tls[..], &[&tokens]].concat(), false),
        ([&tls[..], &[&tokens, "--insecure=true"]].concat(), false),
    ] {
        let mut command = command(&open);
        command.args(&flags);
        let ended = terminated_at(command, "ready grpc=").await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let warned = ended.stderr.contains("whoever reaches it gets in");
        assert_eq!(warned, warns, "{}", ended.stderr);
    }
}

async fn a_new_pair_is_taken_while_calls_go_on(database: Database) {
    let authority = Authority::new();
    let program = start(&database, &authority, &[]).await;
    let shown = async |addr| {
        let stream = shake_hands(addr, authority.client_config(None), &[]).await;
        let stream = stream.expect("shaken");
        let (_, session) = stream.get_ref();
        session.peer_certificates().expect("shown")[0].clone()
    };
    let before = shown(program.grpc).await;
    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let calling = {
        let (mut kept, done, calls) = (
            client(&program, &authority).await,
            done.clone(),
            calls.clone(),
        );
        let connections = (program.grpc, authority.pem("ca.pem"));
        tokio::spawn(async move {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                kept.send_sensor_reading(reading(n))
                    .await
                    .expect("on a connection that is kept");
                let tls =
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&connections.1));
                let endpoint =
                    Channel::from_shared(format!("https://{}", connections.0)).expect("an address");
                let new = endpoint
                    .tls_config(tls)
                    .expect("configured")
                    .connect()
                    .await
                    .expect("connects");
                n += 1;
                let mut new = SensorServiceClient::new(new);
                new.send_sensor_reading(reading(n))
                    .await
                    .expect("on a new connection");
                calls.store(n, Ordering::Relaxed);
            }
        })
    };
    let mut streaming = producer(&program, &authority, "press-4")
        .connect()
        .await
        .expect("opens");
    for n in 1..=20 {
        streaming.send(reading(n)).await.expect("taken");
    }
    authority.renew();
    until("new connections get the new certificate", async || {
        shown(program.grpc).await != before
    })
    .await;
    assert_eq!(shown(program.rest).await, shown(program.grpc).await);
    for n in 21..=40 {
        streaming.send(reading(n)).await.expect("taken");
    }
    streaming.flush().await.expect("committed");
    assert_eq!(streaming.progress().borrow().reconnects, 0);
    done.store(true, Ordering::Relaxed);
    calling.await.expect("no call failed");
    let unary = calls.load(Ordering::Relaxed);
    assert!(unary > 0);
    assert_eq!(database.count("sensor_readings").await, unary + 40);
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn what_does_not_fit_changes_nothing_and_is_said_once(database: Database) {
    let (authority, other) = (Authority::new(), Authority::new());
    let refusal = async |cert: &str, key: &str| {
        let mut refused = command(&["serve", "--database-url", &database.url()]);
        refused.args(["--grpc-addr=127.0.0.1:0", "--rest-addr=127.0.0.1:0"]);
        refused.args([format!("--tls-cert={cert}"), format!("--tls-key={key}")]);
        let ended = end_of(refused).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        ended.stderr
    };
    let (cert, key) = (authority.path("server.pem"), authority.path("server.key"));
    let other_key = other.path("server.key");
    for (cert, key, expected) in [
        (
            &cert,
            &other_key,
            format!(
                "the key {other_key} (tls.key) does not belong to the certificate {cert} (tls.cert)"
            ),
        ),
        (
            &cert,
            &cert,
            format!("{cert} (tls.key) has no private key in PEM"),
        ),
        (
            &key,
            &key,
            format!("{key} (tls.cert) has no certificate in PEM"),
        ),
        (
            &"/nowhere.pem".to_owned(),
            &key,
            "/nowhere.pem (tls.cert) cannot be read: No such file or directory (os error 2)"
                .to_owned(),
        ),
    ] {
        let said = refusal(cert, key).await;
        assert!(said.contains(&expected), "{said}");
    }
    let alone = end_of(command(&["serve", "--embedded-db", "--tls-cert", &cert])).await;
    assert_eq!(
        (alone.code, alone.stderr.as_str()),
        (
            Some(2),
            "sluicegate: tls.key is absent, but must be the key of tls.cert\n"
        )
    );

    let program = start(&database, &authority, &[]).await;
    std::fs::write(&key, other.pem("server.key")).expect("written");
    // Three looks and more.
    sleep(Duration::from_secs(7)).await;
    let answer = asking(&authority)
        .get(format!("https://{}/metrics", program.rest))
        .send()
        .await;
    let metrics = answer
        .expect("the old pair is in use")
        .text()
        .await
        .expect("a text");
    let days = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sluicegate_tls_certificate_days_left "));
    let days: f64 = days.expect("a metric").parse().expect("a number");
    assert!((0.9..=1.0).contains(&days), "{days}");
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0));
    let said = ended
        .stderr
        .matches("the new certificate does not fit: the old one stays in use")
        .count();
    assert_eq!(said, 1, "{}", ended.stderr);
}

async fn a_connection_that_has_reached_its_age_goes_on_elsewhere(database: Database) {
    let authority = Authority::new();
    let ages = [
        "--grpc-max-connection-age-s=1",
        "--grpc-connection-grace-s=0",
        "--rest-max-connection-age-s=1",
    ];
    let program = start(&database, &authority, &ages).await;
    let mut kept = shake_hands_and_stay(program.rest, &authority).await;
    let mut streaming = producer(&program, &authority, "press-4")
        .connect()
        .await
        .expect("opens");
    let asking = asking(&authority);
    let url = format!("https://{}/metrics", program.rest);
    // Calls that have ended in order.
    let ended = async || {
        let answer = asking.get(&url).send().await.expect("answers");
        let metrics = answer.text().await.expect("a text");
        let ended = "sluicegate_grpc_calls_total{method=\"StreamReadingsAcked\",code=\"OK\"} ";
        let ended = metrics.lines().find_map(|line| line.strip_prefix(ended));
        ended.map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    let mut n = 0;
    while ended().await < 2 {
        for _ in 0..10 {
            n += 1;
            assert!(n < 10_000, "the producer stays where it is");
            streaming.send(reading(n)).await.expect("taken");
            sleep(Duration::from_millis(5)).await;
        }
    }
    streaming.flush().await.expect("committed");
    assert_stored(&database, 1..n + 1).await;
    // Nothing more was asked there.
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).await.expect("closed in order");
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

/// A connection of HTTP/1 that could be asked again.
async fn shake_hands_and_stay(addr: SocketAddr, authority: &Authority) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(Arc::new(authority.client_config(None)));
    let stream = TcpStream::connect(addr).await.expect("connects");
    let mut stream = connector
        .connect(addr.ip().into(), stream)
        .await
        .expect("shaken");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.expect("answered");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stream
}
