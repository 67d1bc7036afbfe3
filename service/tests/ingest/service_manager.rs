//! What a service manager such as systemd hears, on a socket as systemd's own.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{net::UnixDatagram, process::Command, time::timeout};

use crate::common::{
    alone_on_each_engine,
    database::Database,
    engines,
    program::{Program, command, end_of},
};

alone_on_each_engine! {
    a_service_says_that_it_is_ready_and_that_it_stops,
    a_database_that_is_lost_is_told_and_keeps_the_service_alive,
    a_service_that_stands_still_is_not_said_to_be_alive,
}

/// Generous: a machine may be busy.
const HEARING_LIMIT: Duration = Duration::from_secs(40);

/// The other end of NOTIFY_SOCKET.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("binds");
        Self {
            socket,
            dir,
            heard: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// Environment of a service with this manager, whose watchdog waits for 3 s.
    fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("NOTIFY_SOCKET", self.path().display().to_string()),
            ("WATCHDOG_USEC", "3000000".to_owned()),
        ]
    }

    /// The next lines.
    async fn hear(&mut self) -> String {
        let mut message = [0; 4_096];
        let received = timeout(HEARING_LIMIT, self.socket.recv(&mut message)).await;
        let length = received.expect("a message in time").expect("a message");
        let text = String::from_utf8(message[..length].to_vec()).expect("UTF-8");
        self.heard.push(text.trim_end().to_owned());
        text
    }

    /// Waits for a message with a line that begins so, and returns that line.
    async fn hear_of(&mut self, beginning: &str) -> String {
        let give_up_at = Instant::now() + HEARING_LIMIT;
        loop {
            let message = self.hear().await;
            if let Some(line) = message.lines().find(|line| line.starts_with(beginning)) {
                return line.to_owned();
            }
            assert!(Instant::now() < give_up_at, "{beginning}: {:?}", self.heard);
        }
    }

    /// What has come and not been heard yet, or comes within a blink.
    async fn pending(&mut self) -> Vec<String> {
        let mut message = [0; 4_096];
        let mut found = Vec::new();
        let blink = Duration::from_millis(200);
        while let Ok(received) = timeout(blink, self.socket.recv(&mut message)).await {
            let length = received.expect("a message");
            found.push(String::from_utf8_lossy(&message[..length]).into_owned());
        }
        found
    }

    fn has_heard(&self, line: &str) -> bool {
        let mut lines = self.heard.iter().flat_map(|message| message.lines());
        lines.any(|it| it == line)
    }
}

async fn start(database: &Database, manager: &Manager, more: &[(&str, &str)]) -> Program {
    let environment = manager.environment();
    let environment = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<_> = environment.chain(more.iter().copied()).collect();
    Program::start_with(&database.url(), &["--ingest-lanes", "1"], &environment).await
}

fn serving(manager: &Manager, arguments: &[&str]) -> Command {
    let mut command = command(&[
        "serve",
        "--grpc-addr",
        "127.0.0.1:0",
        "--rest-addr",
        "127.0.0.1:0",
    ]);
    command.args(arguments).envs(manager.environment());
    command
}

async fn a_service_says_that_it_is_ready_and_that_it_stops(database: Database) {
    let mut manager = Manager::new();
    let program = start(&database, &manager, &[]).await;
    manager.hear_of("READY=1").await;
    let status = format!(
        "STATUS=takes readings: gRPC on {}, REST on {}",
        program.grpc, program.rest
    );
    if !manager.has_heard(&status) {
        manager.hear_of(&status).await;
    }
    manager.hear_of("WATCHDOG=1").await;
    manager.hear_of("WATCHDOG=1").await;
    program.terminate();
    manager.hear_of("STOPPING=1").await;
    assert!(
        manager
            .heard
            .last()
            .is_some_and(|last| last.contains("EXTEND_TIMEOUT_USEC="))
    );
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let rest = manager.pending().await;
    assert!(rest.is_empty(), "{rest:?}");
}

async fn a_database_that_is_lost_is_told_and_keeps_the_service_alive(database: Database) {
    let mut manager = Manager::new();
    let program = start(&database, &manager, &[]).await;
    manager.hear_of("READY=1").await;
    database.server.kill().await;
    let status = manager.hear_of("STATUS=not ready: ").await;
    assert!(status.contains("not reachable"), "{status}");
    manager.hear_of("WATCHDOG=1").await;
    database.server.restart().await;
    manager.hear_of("STATUS=takes readings").await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

async fn a_service_that_stands_still_is_not_said_to_be_alive(database: Database) {
    let mut manager = Manager::new();
    let program = start(&database, &manager, &[]).await;
    manager.hear_of("WATCHDOG=1").await;
    program.pause().await;
    manager.pending().await;
    // Twice what the manager waits for.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(manager.pending().await, Vec::<String>::new());
    program.resume();
    manager.hear_of("WATCHDOG=1").await;
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_database_that_is_away_does_not_hold_up_what_waits_for_the_start() {
    let mut manager = Manager::new();
    let mut serve = serving(&manager, &["--database-url", "mysql://root@127.0.0.1:1/x"]);
    let mut child = serve.spawn().expect("it runs");
    manager.hear_of("READY=1").await;
    let status = manager.heard.last().expect("heard");
    assert!(
        status.contains("STATUS=not ready: ") && status.contains("not reachable"),
        "{status}"
    );
    child.kill().await.expect("killed");
}

#[tokio::test]
async fn a_wrong_setting_is_the_status_and_ends_with_a_code_of_its_own() {
    for (arguments, sentence) in [
        (
            ["--embedded-db", "--ingest-lanes", "65"].as_slice(),
            "STATUS=ingest.lanes is 65, but must be 1 to 64",
        ),
        (&["--ingest-lanes", "many"], "STATUS=invalid value 'many'"),
        (&[], "STATUS=no database: give --database-url"),
    ] {
        let mut manager = Manager::new();
        let ended = end_of(serving(&manager, arguments)).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        manager.hear_of(sentence).await;
        assert!(!manager.has_heard("READY=1"), "{:?}", manager.heard);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_has_to_be_mended() {
    let dir = TempDir::new().expect("a directory");
    let taken = dir.path().join("database");
    std::fs::create_dir(&taken).expect("made");
    std::fs::set_permissions(&taken, std::fs::Permissions::from_mode(0o755)).expect("set");
    std::fs::write(taken.join("of-others"), "").expect("written");
    let manager = Manager::new();
    let embedded = format!("--embedded-db={}/of-others", taken.display());
    let ended = end_of(serving(&manager, &[&embedded])).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[tokio::test]
async fn an_embedded_server_does_not_speak_for_the_service() {
    for (_, binary) in engines::engines() {
        let mut manager = Manager::new();
        let dir = TempDir::new().expect("a directory");
        let embedded = format!("--embedded-db={}", dir.path().join("database").display());
        let mut serve = serving(&manager, &[&embedded, "--embedded-db-bin"]);
        let mut child = serve.arg(&binary).spawn().expect("it runs");
        let status = manager.hear_of("STATUS=takes readings").await;
        let words = manager.heard.iter().flat_map(|message| message.lines());
        let strange: Vec<_> = words
            .filter(|line| {
                line.starts_with("STATUS=") && !line.contains("not ready") && **line != status
            })
            .collect();
        assert!(strange.is_empty(), "{strange:?}");
        let pid = child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id as i32));
        rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::TERM)
            .expect("sent");
        manager.hear_of("STOPPING=1").await;
        let ended = timeout(HEARING_LIMIT, child.wait()).await.expect("it ends");
        assert!(ended.expect("ended").success());
    }
}

#[cfg(feature = "failpoints")]
mod tasks {
    use super::*;

    alone_on_each_engine! {
        a_task_that_is_gone_is_not_said_to_be_alive,
    }

    async fn a_task_that_is_gone_is_not_said_to_be_alive(database: Database) {
        let mut manager = Manager::new();
        let failing = [("FAILPOINTS", "loader of lane 0=60*off->panic(as told)")];
        let program = start(&database, &manager, &failing).await;
        manager.hear_of("STOPPING=1").await;
        let until_then = manager.heard.len();
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        manager
            .hear_of("STATUS=the task \"loader of lane 0\" panicked: as told")
            .await;
        let since: String = manager.heard[until_then..].concat();
        assert!(!since.contains("WATCHDOG=1"), "{since}");
    }
}
