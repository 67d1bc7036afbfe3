//! Who may bring readings: each call of the contract with each kind of token, whose a stream is, and what becomes of a stream
//! when its token is revoked.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use prost::Message as _;
use sluicegate_proto::{
    producer::Producer,
    v1::{OpenStreamRequest, SensorBatch, SeriesPair, StreamPosition, WatchReadingsRequest},
};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_prost::ProstCodec;

use crate::common::{
    certs::Authority,
    database::Database,
    on_each_engine,
    program::Program,
    readings::{header, position, reading, readings, rows},
    service::{Client, Service},
    tokens::{Tokens, with_token},
    web,
};

on_each_engine! {
    every_call_asks_for_a_token_with_its_scope,
    a_prefix_keeps_a_token_to_its_streams,
    a_stream_belongs_to_the_principal_that_opened_it_first,
    a_stream_of_a_token_that_is_revoked_ends_and_nothing_of_it_is_lost,
    a_stream_of_a_token_that_expires_ends,
    a_producer_takes_the_next_token_of_its_file_and_loses_nothing,
    a_client_certificate_stands_for_the_principal_that_the_file_says,
}

const UNKNOWN: &str = "sg_0123456789ab_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn guarded(database: &Database, tokens: &Tokens) -> Service {
    Service::start_with(database, |settings| {
        tokens.asked_for(settings);
        settings.auth.max_failures = Some(1_000_000);
    })
    .await
}

fn authorized<T>(message: T, authorization: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        let value = authorization.parse().expect("visible");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn open_as(
    client: &mut Client,
    stream: &str,
    authorization: Option<&str>,
) -> Result<StreamPosition, Status> {
    let request = OpenStreamRequest {
        stream_id: stream.to_owned(),
        resume: None,
    };
    let opened = client.open_stream(authorized(request, authorization)).await;
    opened.map(tonic::Response::into_inner)
}

/// Makes a call of the contract with one reading, for a stream if it can name one.
async fn call(
    client: &mut Client,
    method: &str,
    stream: Option<(&str, u64)>,
    authorization: Option<&str>,
) -> Result<(), Status> {
    let mut messages = vec![rows(readings(1..2))];
    if let Some((stream, epoch)) = stream {
        messages.insert(0, header(stream, epoch, 1));
    }
    let messages = authorized(tokio_stream::iter(messages), authorization);
    match method {
        "SendSensorReading" => {
            let request = authorized(reading(1), authorization);
            client.send_sensor_reading(request).await.map(drop)
        }
        "SendSensorBatch" => {
            let batch = SensorBatch {
                readings: readings(1..2),
                position: stream.map(|(stream, epoch)| position(stream, epoch, 1)),
            };
            let request = authorized(batch, authorization);
            client.send_sensor_batch(request).await.map(drop)
        }
        "StreamReadings" => client.stream_readings(messages).await.map(drop),
        "StreamReadingsAcked" => {
            let mut acks = client.stream_readings_acked(messages).await?.into_inner();
            while acks.message().await?.is_some() {}
            Ok(())
        }
        "OpenStream" => {
            let stream = stream.map_or("none", |(stream, _)| stream);
            open_as(client, stream, authorization).await.map(drop)
        }
        "WatchReadings" => {
            let pair = SeriesPair {
                id1: 1,
                id2: "a".to_owned(),
            };
            let request = WatchReadingsRequest {
                pairs: vec![pair],
                limit: 1,
                ..WatchReadingsRequest::default()
            };
            let mut told = client
                .watch_readings(authorized(request, authorization))
                .await?
                .into_inner();
            while told.message().await?.is_some() {}
            Ok(())
        }
        other => panic!("say how {other} is called"),
    }
}

fn methods_of(encoded: &[u8], service: &str) -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(encoded).expect("descriptors");
    let services = set.file.into_iter().flat_map(|file| file.service);
    services
        .filter(|found| found.name() == service)
        .flat_map(|found| found.method)
        .map(|method| method.name().to_owned())
        .collect()
}

/// Calls anything with an empty message.
async fn call_raw(channel: &Channel, path: &str, authorization: Option<&str>) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("ready");
    let path = path.parse().expect("a path");
    let request = authorized(tokio_stream::iter([()]), authorization);
    let codec = ProstCodec::<(), ()>::default();
    let answered = client.streaming(request, path, codec).await;
    match answered {
        Ok(mut answers) => match answers.get_mut().message().await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        },
        Err(status) => status.code(),
    }
}

async fn every_call_asks_for_a_token_with_its_scope(database: Database) {
    let tokens = Tokens::new();
    let ingests = tokens.make("press-4", "ingest");
    let admin = tokens.make("root", "admin");
    let prefixed = tokens.make("press-5", "ingest:plant/");
    let others = ["read", "write", "read,write"].map(|scopes| tokens.make("desk", scopes));
    let reads = tokens.make("panel", "read");
    let no_reader = tokens.make("gateway", "ingest,write");
    let revoked = tokens.make("gone", "ingest");
    tokens.revoke(&revoked);
    let expired = tokens.make_expired("late", "ingest").await;
    let service = guarded(&database, &tokens).await;
    let mut client = service.client().await;
    let bearer = |token: &str| format!("Bearer {token}");
    let ingests = bearer(&ingests);
    let methods = methods_of(sluicegate_proto::FILE_DESCRIPTOR_SET, "SensorService");
    assert_eq!(methods.len(), 6);
    for (number, method) in (0..).zip(&methods) {
        for (authorization, what) in [
            (None, "no token"),
            (Some("nonsense".to_owned()), "malformed"),
            (Some("Bearer sg_x".to_owned()), "malformed"),
            (Some(bearer(UNKNOWN)), "unknown"),
            (Some(bearer(&expired)), "expired"),
            (Some(bearer(&revoked)), "revoked"),
        ] {
            let refused = call(&mut client, method, None, authorization.as_deref()).await;
            let status = refused.expect_err(what);
            assert_eq!(status.code(), Code::Unauthenticated, "{method}, {what}");
        }
        if method == "WatchReadings" {
            let refused = call(&mut client, method, None, Some(&bearer(&no_reader))).await;
            let status = refused.expect_err("wrong scope");
            assert_eq!(status.code(), Code::PermissionDenied, "{method}");
            assert!(status.message().contains("read"), "{status:?}");
            let right = call(&mut client, method, None, Some(&bearer(&reads))).await;
            right.expect("may");
            continue;
        }
        for token in &others {
            let refused = call(&mut client, method, None, Some(&bearer(token))).await;
            let status = refused.expect_err("wrong scope");
            assert_eq!(status.code(), Code::PermissionDenied, "{method}");
            assert!(status.message().contains("ingest"), "{status:?}");
        }
        let stream = format!("stream-{number}");
        let at = open_as(&mut client, &stream, Some(&ingests)).await;
        let epoch = at.expect("opens").epoch;
        // Of another: admins, too, leave it alone until they have reassigned it.
        let of_another = call(
            &mut client,
            method,
            Some((&stream, epoch)),
            Some(&bearer(&admin)),
        )
        .await;
        let out_of_reach = call(
            &mut client,
            method,
            Some((&stream, epoch)),
            Some(&bearer(&prefixed)),
        )
        .await;
        let status = out_of_reach.expect_err("out of reach");
        assert_eq!(status.code(), Code::PermissionDenied, "{method}");
        if method == "SendSensorReading" {
            // It names no stream.
            of_another.expect("may");
        } else {
            let status = of_another.expect_err("of another");
            assert_eq!(status.code(), Code::PermissionDenied, "{method}");
            assert!(status.message().contains(&stream), "{status:?}");
            assert!(!status.message().contains("press-4"), "{status:?}");
        }
        let right = call(&mut client, method, Some((&stream, epoch)), Some(&ingests)).await;
        right.unwrap_or_else(|status| panic!("{method}: {status:?}"));
    }
    let channel = Channel::from_shared(format!("http://{}", service.grpc));
    let channel = channel
        .expect("an address")
        .connect()
        .await
        .expect("connects");
    for method in methods_of(tonic_health::pb::FILE_DESCRIPTOR_SET, "Health") {
        let path = format!("/grpc.health.v1.Health/{method}");
        for authorization in [None, Some("nonsense")] {
            let code = call_raw(&channel, &path, authorization).await;
            let is_answered = matches!(code, Code::Ok | Code::Unimplemented);
            assert!(is_answered, "{path}: {code:?}");
        }
    }
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/sluicegate.v1.SensorService/NoSuchCall",
        "/no.such.Service/Call",
    ] {
        let refused = call_raw(&channel, path, None).await;
        assert_eq!(refused, Code::Unauthenticated, "{path}");
        let known = call_raw(&channel, path, Some(&bearer(&others[0]))).await;
        assert_ne!(known, Code::Unauthenticated, "{path}");
        assert_ne!(known, Code::PermissionDenied, "{path}");
    }
    service.close().await;
}

async fn a_prefix_keeps_a_token_to_its_streams(database: Database) {
    let tokens = Tokens::new();
    let token = tokens.make("press-4", "ingest:plant/,ingest:lab/");
    let authorization = format!("Bearer {token}");
    let service = guarded(&database, &tokens).await;
    let mut client = service.client().await;
    for stream in ["plant/press-4", "lab/7"] {
        let at = open_as(&mut client, stream, Some(&authorization)).await;
        let epoch = at.expect("within its prefixes").epoch;
        for method in ["SendSensorBatch", "StreamReadings", "StreamReadingsAcked"] {
            let sent = call(
                &mut client,
                method,
                Some((stream, epoch)),
                Some(&authorization),
            )
            .await;
            sent.expect("within its prefixes");
        }
    }
    for stream in ["Plant/press-4", "plant", "office/plant/"] {
        let refused = open_as(&mut client, stream, Some(&authorization)).await;
        let status = refused.expect_err("outside");
        assert_eq!(status.code(), Code::PermissionDenied, "{stream}");
        let message = status.message();
        for word in [&format!("{stream:?}"), "\"plant/\"", "\"lab/\""] {
            assert!(message.contains(word), "{message}");
        }
    }
    for method in [
        "SendSensorReading",
        "SendSensorBatch",
        "StreamReadings",
        "StreamReadingsAcked",
    ] {
        let refused = call(&mut client, method, None, Some(&authorization)).await;
        let status = refused.expect_err("without a name");
        assert_eq!(status.code(), Code::PermissionDenied, "{method}");
    }
    service.close().await;
}

async fn a_stream_belongs_to_the_principal_that_opened_it_first(database: Database) {
    // One that was opened before there were tokens goes to the first who opens it, or goes on with it.
    let open = Service::start(&database).await;
    let old = open.open("old").await;
    let going_on = open.open("going-on").await;
    open.close().await;
    let tokens = Tokens::new();
    let [first, rotated, other] = ["a", "a", "b"].map(|name| tokens.make(name, "ingest"));
    let [first, rotated, other] = [first, rotated, other].map(|token| format!("Bearer {token}"));
    let service = guarded(&database, &tokens).await;
    let mut client = service.client().await;
    let mine = open_as(&mut client, "new", Some(&first))
        .await
        .expect("opens");
    let taken = open_as(&mut client, "old", Some(&first))
        .await
        .expect("opens");
    assert_eq!(taken.epoch, old.epoch + 1);
    let sent = call(
        &mut client,
        "SendSensorBatch",
        Some(("going-on", going_on.epoch)),
        Some(&first),
    );
    sent.await.expect("goes on");
    for stream in ["new", "old", "going-on"] {
        for _ in 0..2 {
            let refused = open_as(&mut client, stream, Some(&other)).await;
            assert_eq!(refused.expect_err("of a").code(), Code::PermissionDenied);
        }
        let opened = open_as(&mut client, stream, Some(&rotated)).await;
        opened.expect("of the same principal");
    }
    // Who is refused does not fence the owner.
    let now = open_as(&mut client, "new", Some(&first))
        .await
        .expect("opens");
    assert_eq!(now.epoch, mine.epoch + 2);
    service.close().await;
    // Without tokens nothing is asked.
    let open = Service::start(&database).await;
    open.open("new").await;
    open.close().await;
}

/// A stream that has stored a part and goes on, and how it ends.
async fn ended_by(
    database: &Database,
    tokens: &Tokens,
    token: &str,
    end: impl FnOnce(),
) -> (Service, Status, u64) {
    let service = guarded(database, tokens).await;
    let mut client = service.client().await;
    let authorization = format!("Bearer {token}");
    let at = open_as(&mut client, "a", Some(&authorization))
        .await
        .expect("opens");
    let (messages, waiting) = tokio::sync::mpsc::channel(4);
    messages.send(header("a", at.epoch, 1)).await.expect("room");
    let request = with_token(ReceiverStream::new(waiting), token);
    let call = client.stream_readings_acked(request).await;
    let mut acks = call.expect("begins").into_inner();
    let mut acked = 0;
    let mut sent = 0;
    let mut end = Some(end);
    let status = loop {
        if acked >= 500
            && let Some(end) = end.take()
        {
            end();
        }
        if messages
            .send(rows(readings(1 + sent..101 + sent)))
            .await
            .is_ok()
        {
            sent += 100;
        }
        match acks.message().await {
            Ok(Some(ack)) => acked = ack.committed_seq,
            Ok(None) => panic!("it has to end with a status"),
            Err(status) => break status,
        }
    };
    (service, status, acked)
}

async fn assert_stored(database: &Database, service: &Service, acked: u64) {
    service.assert_books_balance().await;
    let stored = database.count("sensor_readings").await;
    assert!(
        stored >= acked,
        "{stored} of {acked} that were acknowledged"
    );
}

async fn a_stream_of_a_token_that_is_revoked_ends_and_nothing_of_it_is_lost(database: Database) {
    let tokens = Tokens::new();
    let token = tokens.make("press-4", "ingest");
    let new = tokens.make("press-4", "ingest");
    let (service, status, acked) =
        ended_by(&database, &tokens, &token, || tokens.revoke(&token)).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_stored(&database, &service, acked).await;
    // The stream goes on with the new token, from where the ledger stands.
    let mut client = service.client().await;
    let at = open_as(&mut client, "a", Some(&format!("Bearer {new}"))).await;
    let at = at.expect("opens");
    assert_eq!(at.committed_seq, database.count("sensor_readings").await);
    let messages = [
        header("a", at.epoch, at.committed_seq + 1),
        rows(readings(at.committed_seq + 1..at.committed_seq + 11)),
    ];
    let request = with_token(tokio_stream::iter(messages), &new);
    let stored = client.stream_readings(request).await.expect("goes on");
    assert_eq!(stored.into_inner().committed, 10);
    service.close().await;
}

async fn a_stream_of_a_token_that_expires_ends(database: Database) {
    let tokens = Tokens::new();
    // Long enough for a service to start on a busy machine.
    let token = tokens.make_for("press-4", "ingest", Some(10));
    let (service, status, acked) = ended_by(&database, &tokens, &token, || ()).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert!(acked > 0);
    assert_stored(&database, &service, acked).await;
    service.close().await;
}

async fn a_producer_takes_the_next_token_of_its_file_and_loses_nothing(database: Database) {
    let tokens = Tokens::new();
    let first = tokens.make("press-4", "ingest:press-4");
    let service = guarded(&database, &tokens).await;
    let own = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(own.path(), &first).expect("written");
    let builder = Producer::builder(format!("http://{}", service.grpc))
        .bearer_token_file(own.path())
        .stream_id("press-4")
        .backoff(Duration::from_millis(5), Duration::from_millis(50));
    let mut producer = builder.connect().await.expect("opens");
    // Revoked before there is another one: it waits for that.
    let mut trouble = producer.trouble();
    let handing_over = async {
        sleep(Duration::from_millis(300)).await;
        tokens.revoke(&first);
        let failed = trouble.wait_for(|trouble| trouble.persists).await;
        let why = failed
            .expect("it runs")
            .last_failure
            .clone()
            .expect("a reason");
        assert!(why.contains("token"), "{why}");
        let second = tokens.make("press-4", "ingest:press-4");
        std::fs::write(own.path(), second).expect("written");
    };
    let handed_over = AtomicBool::new(false);
    let sending = async {
        let mut sent = 0;
        while !handed_over.load(Ordering::Relaxed) {
            sent += 1;
            producer.send(reading(sent)).await.expect("taken");
            sleep(Duration::from_millis(1)).await;
        }
        producer.flush().await.expect("committed");
        sent
    };
    let handing_over = async {
        handing_over.await;
        handed_over.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(sending, handing_over);
    assert!(sent > 0);
    producer.close().await.expect("all is stored");
    assert_eq!(database.count("sensor_readings").await, sent);
    service.close().await;
}

async fn a_client_certificate_stands_for_the_principal_that_the_file_says(database: Database) {
    let authority = Authority::new();
    for name in ["press-4", "desk", "stranger"] {
        authority.client(name);
    }
    let tokens = Tokens::new();
    let token = tokens.make("somebody", "read");
    let mut file = std::fs::read_to_string(tokens.path()).expect("the file");
    file += "\
certificates:
- {subject: CN=press-4, principal: press-4, scopes: ['ingest:plant/']}
- {subject: CN=desk, principal: desk, scopes: [read]}
";
    std::fs::write(tokens.path(), file).expect("written");
    let [cert, key] = authority.flags();
    let ca = format!("--tls-client-ca={}", authority.path("ca.pem"));
    let auth = format!("--auth-tokens={}", tokens.path().display());
    let program = Program::start(&database.url(), &[&cert, &key, &ca, &auth]).await;
    for (name, sends, reads) in [
        (None, Code::Unauthenticated, 401),
        (Some("press-4"), Code::Ok, 403),
        (Some("desk"), Code::PermissionDenied, 200),
        (Some("stranger"), Code::Unauthenticated, 401),
    ] {
        let ca = Certificate::from_pem(authority.pem("ca.pem"));
        let mut tls = ClientTlsConfig::new().ca_certificate(ca);
        let mut web = web::builder()
            .tls_certs_only([
                reqwest::Certificate::from_pem(&authority.pem("ca.pem")).expect("a certificate")
            ]);
        if let Some(name) = name {
            let [pem, key] = ["pem", "key"].map(|end| authority.pem(&format!("{name}.{end}")));
            tls = tls.identity(Identity::from_pem(&pem, &key));
            let both = [pem, key].concat();
            web = web.identity(reqwest::Identity::from_pem(&both).expect("a pair"));
        }
        let endpoint = Channel::from_shared(format!("https://{}", program.grpc));
        let endpoint = endpoint.expect("an address").tls_config(tls).expect("tls");
        let mut client = Client::new(endpoint.connect().await.expect("connects"));
        let opened = open_as(&mut client, "plant/press-4", None).await;
        let code = opened.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, sends, "{name:?}");
        let web = web.build().expect("a client");
        let get = || web.get(format!("https://{}/streams", program.rest));
        let answer = get().send().await.expect("answers");
        assert_eq!(answer.status(), reads, "{name:?}");
        // A token decides.
        let answer = get().bearer_auth(&token).send().await.expect("answers");
        assert_eq!(answer.status(), 200, "{name:?}");
        let answer = get().bearer_auth(UNKNOWN).send().await.expect("answers");
        assert_eq!(answer.status(), 401, "{name:?}");
    }
    program.kill().await;
}
