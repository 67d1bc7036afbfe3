//! Clients that go away, or never say what they want.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use sluicegate::repository::mysql::Layout;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    api::Api,
    common::{database::Database, on_each_engine, service::Service, until},
    sample::{filled, readings},
};

/// Connections that management has to the database.
const AT_ONCE: u64 = 8;

on_each_engine! {
    questions_without_an_asker_still_count,
    a_client_that_does_not_begin_is_cut_off,
}

async fn waiting(database: &Database) -> u64 {
    database.running(&["SELECT COUNT(*) FROM sensor%"]).await
}

async fn questions_without_an_asker_still_count(database: Database) {
    let (database, service) = filled(&database, Layout::Partitioned, readings()).await;
    let mut holder = database.connect().await;
    holder
        .query_drop("LOCK TABLES sensor_readings WRITE")
        .await
        .expect("locks");
    let request = "DELETE /api/v1/sensor/delete/time?from_time=0&to_time=9999999999999&dry_run=true HTTP/1.1\r\n\
                   Host: a\r\n\r\n";
    let mut askers = Vec::new();
    for _ in 0..AT_ONCE {
        let mut asker = TcpStream::connect(service.rest).await.expect("connects");
        asker.write_all(request.as_bytes()).await.expect("asks");
        askers.push(asker);
    }
    until("all of them wait", || async {
        waiting(&database).await == AT_ONCE
    })
    .await;
    drop(askers);
    // There is no connection for another one: the server still works for those who are gone.
    let api = Api::of(&service);
    let latest = api.request(Method::GET, "/sensor/latest?id1=0&id2=A");
    let refused = api.send_any(latest).await;
    refused.problem(503, "database-unavailable", None);
    assert_eq!(waiting(&database).await, AT_ONCE);
    holder.query_drop("UNLOCK TABLES").await.expect("lets go");
    until("all of them are done", || async {
        waiting(&database).await == 0
    })
    .await;
    assert_eq!(api.get("/sensor/latest?id1=0&id2=A").await.status, 200);
    service.close().await;
}

async fn a_client_that_does_not_begin_is_cut_off(database: Database) {
    let service = Service::start(&database).await;
    let ends = ["", "PRI * HTTP/2.0\r\n", "GET /healthz HTTP/1.1\r\n"].map(|start| async move {
        let mut client = TcpStream::connect(service.rest).await.expect("connects");
        client.write_all(start.as_bytes()).await.expect("begins");
        let mut answer = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(60), client.read_to_end(&mut answer));
        // Closed, or reset because nobody read what came.
        let _ = end
            .await
            .unwrap_or_else(|_| panic!("{start:?} is still served"));
    });
    futures::future::join_all(ends).await;
    service.close().await;
}
