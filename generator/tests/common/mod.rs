//! A service in this process on a database of its own, for one test.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable as _};
use sluicegate::{
    app::{self, AppError, Listeners},
    config::{Config, Settings},
    embedded_db::{EmbeddedDb, EmbeddedDbOptions},
    repository::mysql::Layout,
    shutdown::Shutdown,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The service, its database, and a directory for files of the test.
pub(crate) struct Stack {
    pub(crate) grpc: SocketAddr,
    rest: SocketAddr,
    shutdown: Shutdown,
    service: JoinHandle<Result<(), AppError>>,
    database: EmbeddedDb,
    directory: TempDir,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(Layout::Partitioned).await
    }

    pub(crate) async fn start_with(layout: Layout) -> Self {
        let directory = TempDir::new().unwrap();
        let mut options = EmbeddedDbOptions::new(directory.path().join("database"));
        options.buffer_pool_bytes = Some(64 << 20);
        let database = EmbeddedDb::start(options).await.unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = Settings {
            database_url: Some(database.url()),
            grpc_addr: Some(any),
            rest_addr: Some(any),
            layout: Some(layout),
            ..Settings::default()
        };
        settings.ingest.lanes = Some(2);
        let config = Config::resolve(settings, None).unwrap();
        let listeners = Listeners::bind(&config).await.unwrap();
        let grpc = listeners.grpc.local_addr().unwrap();
        let rest = listeners.rest.local_addr().unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(30));
        let service = tokio::spawn(app::run(listeners, config, shutdown.clone()));
        let stack = Self {
            grpc,
            rest,
            shutdown,
            service,
            database,
            directory,
        };
        sluicegate_transport::crypto::provider();
        let client = reqwest::Client::new();
        let ready = format!("http://{rest}/readyz");
        for _ in 0..2_400 {
            // The addresses are bound long before the service is ready.
            let answer = client.get(&ready).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return stack;
            }
            assert!(!stack.service.is_finished(), "the service has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the service does not start");
    }

    pub(crate) fn target(&self) -> String {
        format!("http://{}", self.grpc)
    }

    #[allow(dead_code, reason = "only some tests ask the management API")]
    pub(crate) fn rest(&self) -> String {
        format!("http://{}", self.rest)
    }

    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    /// A path for a file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn connect(&self) -> Conn {
        let opts = OptsBuilder::from_opts(Opts::from_url(&self.url()).unwrap())
            .setup(vec!["SET time_zone = '+00:00'"]);
        Conn::new(opts).await.unwrap()
    }

    #[allow(dead_code, reason = "only some tests change rows")]
    pub(crate) async fn run(&self, sql: &str) {
        self.connect().await.query_drop(sql).await.unwrap();
    }

    /// The number that a query returns.
    #[allow(dead_code, reason = "only some tests count rows")]
    pub(crate) async fn ask(&self, sql: &str) -> u64 {
        let answer: Option<u64> = self.connect().await.query_first(sql).await.unwrap();
        answer.unwrap()
    }

    pub(crate) async fn close(mut self) {
        self.shutdown.draining.cancel();
        self.service.await.unwrap().unwrap();
        self.database.stop().await.unwrap();
    }
}
