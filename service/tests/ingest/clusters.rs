//! Servers that replicate a transaction before it is committed bound its size too, each in words of its own: a group of
//! MySQL, a cluster of Galera. Both have a single member here.

use std::{net::TcpListener, path::Path};

use sluicegate::embedded_db::Engine;

use crate::common::{
    bounded,
    database::Server,
    readings::{assert_stored, column_batch, columns},
    service::{AckedCall, Service},
};

/// Where packages put it.
const GALERA: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
];
const READINGS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_above_the_limit_of_a_group_is_stored_in_parts() {
    let member = [
        "--server-id=1",
        "--log-bin=log",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--plugin-load-add=group_replication.so",
        "--loose-group-replication-group-name=6a5ad3a0-2c4e-4d0b-9d5c-0f6e0a2d1b7c",
        "--loose-group-replication-bootstrap-group=ON",
        "--loose-group-replication-start-on-boot=OFF",
    ];
    let mut arguments = member.map(str::to_owned).to_vec();
    arguments.push(format!(
        "--loose-group-replication-local-address=127.0.0.1:{}",
        free_port()
    ));
    let begin = Some("START GROUP_REPLICATION");
    let limit = "SET GLOBAL group_replication_transaction_size_limit = 65536";
    bounded(stored_in_parts(Engine::MySql, arguments, begin, limit)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_more_rows_than_galera_takes_is_stored_in_parts() {
    on_galera("SET GLOBAL wsrep_max_ws_rows = 1000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_more_bytes_than_galera_takes_is_stored_in_parts() {
    on_galera("SET GLOBAL wsrep_max_ws_size = 65536").await;
}

async fn on_galera(limit: &str) {
    let Some(provider) = GALERA.iter().find(|file| Path::new(file).is_file()) else {
        let demanded = std::env::var_os("SLUICEGATE_TEST_GALERA").is_some();
        assert!(!demanded, "Galera is missing: run scripts/test.sh");
        eprintln!("Galera (package galera-4) is missing: nothing was tested");
        return;
    };
    let arguments = vec![
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={provider}"),
        "--wsrep-cluster-address=gcomm://".to_owned(),
        "--wsrep-node-address=127.0.0.1".to_owned(),
        format!(
            "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{}",
            free_port()
        ),
        "--binlog-format=ROW".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
    ];
    bounded(stored_in_parts(Engine::MariaDb, arguments, None, limit)).await;
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound").port()
}

/// One message of one stream is more than the limit allows.
async fn stored_in_parts(engine: Engine, arguments: Vec<String>, begin: Option<&str>, limit: &str) {
    let Some(server) = Server::with(engine, arguments).await else {
        eprintln!("{engine} is not selected: nothing was tested");
        return;
    };
    let database = server.schema().await;
    if let Some(begin) = begin {
        database.run(begin).await;
    }
    let service = Service::start(&database).await;
    database.run(limit).await;
    // It holds for connections that begin from now on.
    database.end_connections().await;
    let at = service.open("big").await;
    let mut call = AckedCall::resume(&mut service.client().await, "big", &at).await;
    call.send(columns(column_batch(1..READINGS + 1))).await;
    let ack = call.until_acked(READINGS).await;
    assert_eq!((ack.committed, ack.rejected), (READINGS, 0));
    call.finish().await;
    assert!(service.figure("batches").await > 10);
    assert_stored(&database, 1..READINGS + 1).await;
    service.close().await;
}
