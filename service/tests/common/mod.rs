//! What the tests against real databases share.

pub(crate) mod brokers;
pub(crate) mod cache_server;
pub(crate) mod certs;
pub(crate) mod database;
pub(crate) mod engines;
pub(crate) mod http;
pub(crate) mod poison;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod readings;
pub(crate) mod service;
mod stillness;
pub(crate) mod tokens;
mod waiting;
pub(crate) mod web;

use std::{future::Future, sync::Arc, time::Duration};

use database::{Database, Server};
use mysql_async::prelude::Queryable as _;
use sluicegate::embedded_db::Engine;
use tokio::sync::OwnedMutexGuard;

pub(crate) use waiting::until;

/// No test takes longer, servers that have to be started first not counted.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// What tests change of a server that they have alone, as `embedded_db` starts it.
const AS_STARTED: &str = "SET @@GLOBAL.local_infile = 1, @@GLOBAL.max_allowed_packet = 67108864, \
     @@GLOBAL.autocommit = 1, @@GLOBAL.lc_messages = 'en_US', @@GLOBAL.completion_type = 'NO_CHAIN', \
     @@GLOBAL.innodb_flush_log_at_trx_commit = 1 \
     /*M! , @@GLOBAL.max_statement_time = 0 */ /*!50708 , @@GLOBAL.max_execution_time = 0 */";

/// Turns each function into two tests, one on each engine: `mariadb::name` and `mysql::name`.
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        $crate::common::engine_tests!(run: $($name),*);
    };
}
pub(crate) use on_each_engine;

/// As `on_each_engine`, for tests that kill or reconfigure the server: they have another one, and take turns.
macro_rules! alone_on_each_engine {
    ($($name:ident),* $(,)?) => {
        $crate::common::engine_tests!(run_alone: $($name),*);
    };
}
pub(crate) use alone_on_each_engine;

/// As `alone_on_each_engine`, on servers with a binary log.
macro_rules! logged_on_each_engine {
    ($($name:ident),* $(,)?) => {
        $crate::common::engine_tests!(run_logged: $($name),*);
    };
}
pub(crate) use logged_on_each_engine;

macro_rules! engine_tests {
    ($run:ident: $($name:ident),*) => {
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::common::$run(sluicegate::embedded_db::Engine::MariaDb, super::$name).await;
            })*
        }

        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::common::$run(sluicegate::embedded_db::Engine::MySql, super::$name).await;
            })*
        }
    };
}
pub(crate) use engine_tests;

/// Runs a test on a schema of its own. An engine that is not selected is left out.
pub(crate) async fn run<F: Future<Output = ()>>(engine: Engine, test: impl FnOnce(Database) -> F) {
    let Some(database) = Database::create(engine).await else {
        eprintln!("{engine} is not selected: nothing was tested");
        return;
    };
    bounded(Box::pin(test(database))).await;
}

/// Runs a test on a server that no other test uses meanwhile.
pub(crate) async fn run_alone<F: Future<Output = ()>>(
    engine: Engine,
    test: impl FnOnce(Database) -> F,
) {
    let server = Server::alone(engine).await;
    run_on(engine, server, test).await;
}

/// Runs a test on a server with a binary log that no other test uses meanwhile.
pub(crate) async fn run_logged<F: Future<Output = ()>>(
    engine: Engine,
    test: impl FnOnce(Database) -> F,
) {
    let server = Server::logged(engine).await;
    run_on(engine, server, test).await;
}

async fn run_on<F: Future<Output = ()>>(
    engine: Engine,
    server: Option<OwnedMutexGuard<Arc<Server>>>,
    test: impl FnOnce(Database) -> F,
) {
    let Some(server) = server else {
        eprintln!("{engine} is not selected: nothing was tested");
        return;
    };
    let database = server.schema().await;
    database.run(AS_STARTED).await;
    // Read-only where there is no binary log.
    let _ = database
        .connect()
        .await
        .query_drop("SET GLOBAL max_binlog_cache_size = 1099511627776")
        .await;
    bounded(Box::pin(test(database))).await;
}

/// Fails instead of hanging.
pub(crate) async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TEST_LIMIT, work)
        .await
        .expect("done within a minute")
}
