//! Who gets at an embedded database: its own user with the password, and nobody else.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable as _};
use sluicegate::embedded_db::{EmbeddedDb, EmbeddedDbError, EmbeddedDbOptions};
use tempfile::TempDir;

use crate::common::engines::{engines, small};

/// The user nobody, on every Linux.
const NOBODY: u32 = 65534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("there").mode() & 0o7777
}

/// A folder below one that everybody may enter, and options for a server on it, with a port.
fn folder(binary: &Path, folder_mode: u32) -> (TempDir, PathBuf, EmbeddedDbOptions) {
    let parent = TempDir::new().expect("a directory");
    set_mode(parent.path(), 0o755);
    let folder = parent.path().join("data");
    fs::create_dir(&folder).expect("made");
    set_mode(&folder, folder_mode);
    let mut options = small(&folder, binary);
    options.tcp_port = Some(0);
    (parent, folder, options)
}

/// Tests of other users need root.
fn can_be_others(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("not root: {what} was NOT tested");
    }
    is_root
}

/// Whether the command succeeds as the user nobody.
fn succeeds_as_nobody(command: &[&str]) -> bool {
    let user = format!("--reuid={NOBODY}");
    let group = format!("--regid={NOBODY}");
    let done = Command::new("setpriv")
        .args([&user, &group, "--clear-groups"])
        .args(command)
        .output()
        .expect("setpriv runs");
    done.status.success()
}

async fn assert_denied(url: &str) {
    let opts = OptsBuilder::from_opts(Opts::from_url(url).expect("a url")).pass(None::<String>);
    match Conn::new(opts).await {
        Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 1045, "{error}"),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("root gets in without a password"),
    }
}

async fn assert_closed(db: &EmbeddedDb) {
    assert_denied(&db.url()).await;
    assert_denied(&db.tcp_url().expect("a port")).await;
    for url in [db.url(), db.tcp_url().expect("a port")] {
        crate::connect(&url).await;
    }
    assert_eq!(mode(db.data_dir()), 0o700);
}

async fn refusal(options: EmbeddedDbOptions) -> String {
    let refused = EmbeddedDb::start(options).await.expect_err("refused");
    assert!(
        matches!(refused, EmbeddedDbError::NotPrivate { .. }),
        "{refused}"
    );
    refused.to_string()
}

#[tokio::test]
async fn an_empty_folder_that_is_open_to_others_is_closed() {
    for (_, binary) in engines() {
        let (_parent, folder, options) = folder(&binary, 0o755);
        let db = EmbeddedDb::start(options).await.expect("starts");
        assert_closed(&db).await;
        for name in ["client.cnf", "init.sql", "server.log", "embedded.pid"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        for name in ["tmp", "files"] {
            assert_eq!(mode(&folder.join(name)), 0o700, "{name}");
        }
    }
}

#[tokio::test]
async fn another_user_gets_in_neither_by_the_socket_nor_by_the_port() {
    if !can_be_others("a database as another user sees it") {
        return;
    }
    for (engine, binary) in engines() {
        let (_parent, folder, options) = folder(&binary, 0o755);
        let db = EmbeddedDb::start(options).await.expect("starts");
        let path = folder.to_string_lossy();
        assert!(!succeeds_as_nobody(&["ls", &path]), "{engine}");
        let socket = db.socket().to_string_lossy();
        assert!(!succeeds_as_nobody(&["test", "-e", &socket]), "{engine}");
        let Some(client) = client() else {
            eprintln!("no client program: the port was NOT tried as another user");
            continue;
        };
        let client = client.to_string_lossy();
        let port = db.tcp_port().expect("a port").to_string();
        let by_port = [
            &client,
            "--no-defaults",
            "-h127.0.0.1",
            "-P",
            &port,
            "-uroot",
            "-e",
            "SELECT 1",
        ];
        assert!(!succeeds_as_nobody(&by_port), "{engine}");
        let by_socket = [
            &client,
            "--no-defaults",
            "-S",
            &socket,
            "-uroot",
            "-e",
            "SELECT 1",
        ];
        assert!(!succeeds_as_nobody(&by_socket), "{engine}");
        // With what only the owner can read, the same way is open.
        let password = format!("-p{}", db.root_password());
        assert!(
            succeeds_as_nobody(&[&by_port[..], &[&password]].concat()),
            "{engine}"
        );
    }
}

fn client() -> Option<PathBuf> {
    ["/usr/bin/mariadb", "/usr/bin/mysql"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_file())
}

#[tokio::test]
async fn a_folder_that_others_could_have_filled_is_refused() {
    let (_, binary) = engines().remove(0);
    for (open, planted, sentence) in [
        (
            0o755,
            "letter.txt",
            "has the mode 755 and holds other files already",
        ),
        (
            0o775,
            "letter.txt",
            "has the mode 775, so that others could have put files there",
        ),
        (
            0o777,
            "embedded.pid",
            "has the mode 777, so that others could have put files there",
        ),
    ] {
        let (_parent, folder, options) = folder(&binary, open);
        fs::write(folder.join(planted), "mine").expect("written");
        let said = refusal(options).await;
        assert!(said.contains(sentence), "{said}");
        assert_eq!(mode(&folder), open, "nothing is changed");
    }
}

#[tokio::test]
async fn a_folder_of_our_own_that_was_opened_is_closed_again() {
    for (_, binary) in engines() {
        let (_parent, folder, options) = folder(&binary, 0o700);
        drop(EmbeddedDb::start(options.clone()).await.expect("starts"));
        set_mode(&folder, 0o755);
        let db = EmbeddedDb::start(options).await.expect("starts again");
        assert_closed(&db).await;
    }
}

#[tokio::test]
async fn what_belongs_to_another_user_is_refused() {
    let (_, binary) = engines().remove(0);
    if !can_be_others("a folder of another user") {
        return;
    }
    let (parent, folder, options) = folder(&binary, 0o700);
    let link = parent.path().join("link");
    symlink(&folder, &link).expect("made");
    let linked = EmbeddedDbOptions {
        data_dir: link.clone(),
        ..options.clone()
    };
    lchown(&link, Some(NOBODY), Some(NOBODY)).expect("given away");
    let said = refusal(linked.clone()).await;
    assert!(
        said.contains("is a symbolic link that belongs to the user with the number 65534"),
        "{said}"
    );

    chown(&folder, Some(NOBODY), Some(NOBODY)).expect("given away");
    let said = refusal(options).await;
    assert!(
        said.contains("belongs to the user with the number 65534"),
        "{said}"
    );

    // A link of one's own is as good as the folder.
    chown(&folder, Some(0), Some(0)).expect("taken back");
    lchown(&link, Some(0), Some(0)).expect("taken back");
    let db = EmbeddedDb::start(linked).await.expect("starts");
    assert_closed(&db).await;
}

#[tokio::test]
async fn planted_links_in_the_folder_are_not_followed() {
    let (_, binary) = engines().remove(0);
    for name in ["server.log", "client.cnf", "embedded.pid"] {
        let (parent, folder, options) = folder(&binary, 0o700);
        let victim = parent.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, folder.join(name)).expect("planted");
        let refused = EmbeddedDb::start(options).await.expect_err("refused");
        assert!(
            refused.to_string().contains("it is a symbolic link"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
    }
}

#[tokio::test]
async fn a_database_of_an_earlier_version_gets_a_password() {
    for (engine, binary) in engines() {
        let (_parent, folder, options) = folder(&binary, 0o700);
        let mut db = EmbeddedDb::start(options.clone()).await.expect("starts");
        crate::write(&db.url(), 7).await;
        let first = db.root_password().to_owned();
        let mut conn = crate::connect(&db.url()).await;
        // As `mariadb-install-db` and earlier versions of ours leave it.
        let others = "CREATE USER IF NOT EXISTS root@'::1', root@'192.0.2.7'";
        conn.query_drop(others).await.expect("made");
        for host in ["127.0.0.1", "localhost"] {
            let sql = format!("ALTER USER root@'{host}' IDENTIFIED BY ''");
            conn.query_drop(sql).await.expect("altered");
        }
        drop(conn);
        db.stop().await.expect("stops");
        drop(db);
        fs::remove_file(folder.join("client.cnf")).expect("removed");

        let db = EmbeddedDb::start(options).await.expect("starts again");
        assert_closed(&db).await;
        assert_ne!(db.root_password(), first);
        assert_eq!(crate::kept(&db.url()).await, [7], "{engine}");
        // MariaDB knows a root of this host's name, too, and does not let it in: it resolves no names.
        let sql = "SELECT COUNT(*) FROM mysql.user WHERE User = 'root' AND authentication_string = '' \
                   AND (Host IN ('localhost', '::1') OR Host REGEXP '^[0-9.]+$')";
        let open: Option<u64> = crate::connect(&db.url())
            .await
            .query_first(sql)
            .await
            .expect("counted");
        assert_eq!(open, Some(0), "roots without a password on {engine}");
    }
}

#[tokio::test]
async fn statements_reach_the_files_of_one_folder_only() {
    for (engine, binary) in engines() {
        let (parent, folder, options) = folder(&binary, 0o700);
        let db = EmbeddedDb::start(options).await.expect("starts");
        let mut conn = crate::connect(&db.url()).await;
        let outside = parent.path().join("written");
        for path in [&outside, &folder.join("written")] {
            let sql = format!("SELECT 1 INTO OUTFILE '{}'", path.display());
            let refused = conn.query_drop(sql).await.expect_err("refused");
            assert!(
                refused.to_string().contains("secure-file-priv"),
                "{engine}: {refused}"
            );
            assert!(!path.exists());
        }
        let inside = folder.canonicalize().expect("there").join("files/written");
        let sql = format!("SELECT 1 INTO OUTFILE '{}'", inside.display());
        conn.query_drop(sql).await.expect("written");
        assert!(inside.exists(), "{engine}");
    }
}
