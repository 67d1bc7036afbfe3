//! Clients that never say what they want.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::common::{database::Database, on_each_engine, service::Service};

on_each_engine! {
    a_client_that_does_not_begin_is_cut_off,
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
