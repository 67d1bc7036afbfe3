//! TLS to the database: which server is believed in which mode, what becomes of passwords, and that readings go over it.

use std::net::IpAddr;

use mysql_async::prelude::Queryable as _;
use sluicegate::embedded_db::Engine;
use tempfile::TempDir;

use crate::{
    certificates::{Authority, Pair, SHORT_LIFE, Wanted},
    common::{
        bounded,
        database::{Database, Server},
        http,
        program::{Program, command, end_of},
        readings::reading,
        service::{Service, connect},
    },
};

const MODES: [&str; 5] = [
    "disabled",
    "preferred",
    "required",
    "verify-ca",
    "verify-identity",
];
/// For what the certificates of these servers are.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const OTHER_NAMES: [&str; 1] = ["db.example"];

/// A server with certificates of the test's own, which can be exchanged.
struct Secured {
    database: Database,
    pair: Pair,
    authority: Authority,
    /// The authority's own.
    ca: String,
    dir: TempDir,
}

impl Secured {
    /// None when the engine is not selected.
    async fn start(engine: Engine, arguments: &[&str]) -> Option<Self> {
        let dir = TempDir::new().expect("a directory");
        let authority = Authority::new("sluicegate test authority");
        let ca = authority.write(&dir.path().join("ca.pem"));
        let pair = Pair::at(dir.path(), "server");
        authority.sign(of_server(&NAMES), &pair);
        let mut options: Vec<String> =
            [("cert", &pair.certificate), ("key", &pair.key), ("ca", &ca)]
                .map(|(name, path)| format!("--ssl-{name}={}", path.display()))
                .to_vec();
        options.extend(arguments.iter().map(|&each| each.to_owned()));
        let server = Server::with(engine, options).await?;
        let database = server.schema().await;
        Some(Self {
            database,
            pair,
            authority,
            ca: ca.to_str().expect("UTF-8").to_owned(),
            dir,
        })
    }

    /// Lets the server take the certificate that lies in its files now.
    async fn reload(&self) {
        match self.database.engine() {
            Engine::MariaDb => self.database.run("FLUSH SSL").await,
            // It takes only good ones where it runs.
            Engine::MySql => self.database.server.restart().await,
        }
    }

    /// As root over TCP.
    fn url(&self, host: &str, parameters: &str) -> String {
        let url = self.database.tcp_url(self.database.tcp_port());
        format!("{}&{parameters}", url.replacen("127.0.0.1", host, 1))
    }

    /// Handshakes of TLS that the server has finished.
    async fn handshakes(&self) -> u64 {
        let sql = "SHOW GLOBAL STATUS LIKE 'Ssl_finished_accepts'";
        let mut conn = self.database.connect().await;
        let row: Option<(String, u64)> = conn.query_first(sql).await.expect("told");
        row.expect("a figure").1
    }

    /// Migrates over this address, with the authority's file; returns whether that went over TLS, or the one sentence.
    async fn reached(&self, url: &str) -> Result<bool, String> {
        let before = self.handshakes().await;
        let ended = end_of(command(&[
            "migrate",
            "--log",
            "error",
            "--database-url",
            url,
        ]))
        .await;
        match ended.code {
            Some(0) => Ok(self.handshakes().await > before),
            code => {
                assert_eq!(code, Some(2), "{url}: {ended:?}");
                assert_eq!(ended.stderr.lines().count(), 1, "one sentence: {ended:?}");
                Err(ended.stderr)
            }
        }
    }
}

fn of_server<'a>(names: &'a [&'a str]) -> Wanted<'a> {
    Wanted {
        names,
        ..Wanted::default()
    }
}

/// An address of this host that is not the loopback's; None where there is none.
pub(crate) fn other_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only chooses the address that it would be sent from.
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(sluicegate::embedded_db::Engine::MariaDb).await;
            })*
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(sluicegate::embedded_db::Engine::MySql).await;
            })*
        }
    };
}

on_each! {
    each_mode_believes_the_servers_that_it_should,
    a_server_without_tls_is_taken_where_that_is_allowed,
    a_server_that_demands_tls_is_served,
    a_certificate_proves_this_service,
    a_password_goes_to_no_server_elsewhere_that_is_not_verified,
    readings_go_over_verified_tls,
}

async fn each_mode_believes_the_servers_that_it_should(engine: Engine) {
    let Some(secured) = Secured::start(engine, &[]).await else {
        return;
    };
    let short = Wanted {
        is_short_lived: true,
        ..of_server(&NAMES)
    };
    let stranger = Authority::new("somebody else");
    let pair = &secured.pair;
    // What the sentences of verify-ca and verify-identity say; None where the server is believed.
    type Sentences = [Option<&'static str>; 2];
    let cases: [(&str, &dyn Fn(), Sentences); 6] = [
        (
            "right",
            &|| secured.authority.sign(of_server(&NAMES), pair),
            [None, None],
        ),
        (
            "wrong name",
            &|| secured.authority.sign(of_server(&OTHER_NAMES), pair),
            [None, Some("not valid for name")],
        ),
        (
            "no name",
            &|| secured.authority.sign(of_server(&[]), pair),
            [None, Some("not valid for")],
        ),
        (
            "self-signed",
            &|| pair.sign_itself(of_server(&NAMES)),
            [Some("certificate is refused"); 2],
        ),
        (
            "wrong authority, with the word that the driver looks for as its name",
            &|| stranger.sign(of_server(&["NotValidForName.invalid", "localhost"]), pair),
            [Some("no authority that is known"); 2],
        ),
        (
            "expired",
            &|| secured.authority.sign(short, pair),
            [Some("expired"); 2],
        ),
    ];
    for (name, exchange, sentences) in cases {
        exchange();
        secured.reload().await;
        if name == "expired" {
            // MySQL takes none that has expired already.
            tokio::time::sleep(2 * SHORT_LIFE).await;
        }
        for mode in MODES {
            let parameters = format!("ssl-mode={mode}&ssl-ca={}", secured.ca);
            let reached = secured
                .reached(&secured.url("127.0.0.1", &parameters))
                .await;
            let what = format!("{name}, {mode}: {reached:?}");
            let refused = match mode {
                "verify-ca" => sentences[0],
                "verify-identity" => sentences[1],
                _ => None,
            };
            match refused {
                // On this host it is not needed, and so not taken.
                None => assert_eq!(
                    reached.as_ref().ok(),
                    Some(&!["disabled", "preferred"].contains(&mode)),
                    "{what}"
                ),
                Some(expected) => {
                    let sentence = reached.as_ref().expect_err(&what);
                    assert!(sentence.contains(expected), "{what}");
                }
            }
        }
    }
    // The name in the address counts, and not the address behind it.
    secured.authority.sign(of_server(&["localhost"]), pair);
    secured.reload().await;
    let parameters = format!("ssl-mode=verify-identity&ssl-ca={}", secured.ca);
    let by_name = secured
        .reached(&secured.url("localhost", &parameters))
        .await;
    assert_eq!(by_name, Ok(true));
    let by_address = secured
        .reached(&secured.url("127.0.0.1", &parameters))
        .await;
    assert!(by_address.is_err(), "{by_address:?}");
    // Without a file of an authority the public ones are asked.
    let parameters = "ssl-mode=verify-identity";
    let sentence = secured.reached(&secured.url("localhost", parameters)).await;
    assert!(
        sentence
            .expect_err("refused")
            .contains("no authority that is known"),
    );
}

async fn a_server_without_tls_is_taken_where_that_is_allowed(engine: Engine) {
    let arguments = match engine {
        Engine::MariaDb => "--skip-ssl",
        Engine::MySql => "--tls-version=",
    };
    let Some(secured) = Secured::start(engine, &[arguments, "--bind-address=*"]).await else {
        return;
    };
    for mode in MODES {
        let parameters = format!("ssl-mode={mode}&ssl-ca={}", secured.ca);
        let reached = secured
            .reached(&secured.url("127.0.0.1", &parameters))
            .await;
        match mode {
            "disabled" | "preferred" => assert_eq!(reached, Ok(false), "{mode}"),
            _ => {
                let sentence = reached.expect_err(mode);
                assert!(sentence.contains("offers no TLS"), "{sentence}");
            }
        }
    }
    let Some(address) = other_address() else {
        eprintln!("this host has no address but the loopback's: half of this was not tested");
        return;
    };
    let url = account(&secured, "plain", "BY 'pw'", "").await;
    let elsewhere = format!("{}&ssl-mode=preferred", url(&address.to_string()));
    let ended = end_of(command(&[
        "migrate",
        "--database-insecure",
        "--log",
        "error",
        "--database-url",
        &elsewhere,
    ]));
    let ended = ended.await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Makes an account that comes from anywhere, and returns its address by host.
async fn account(
    secured: &Secured,
    user: &str,
    identified: &str,
    require: &str,
) -> impl Fn(&str) -> String {
    let schema = secured.database.name().to_owned();
    let port = secured.database.tcp_port();
    let identified = match identified {
        "" => String::new(),
        by => format!("IDENTIFIED {by}"),
    };
    let create = format!("CREATE USER {user}@'%' {identified} {require}");
    secured.database.run(&create).await;
    let grant = format!("GRANT ALL ON {schema}.* TO {user}@'%'");
    secured.database.run(&grant).await;
    let password = if identified.is_empty() { "" } else { ":pw" };
    let user = user.to_owned();
    move |host| format!("mysql://{user}{password}@{host}:{port}/{schema}?prefer_socket=false")
}

async fn a_server_that_demands_tls_is_served(engine: Engine) {
    let arguments = ["--require-secure-transport=ON", "--bind-address=*"];
    let Some(secured) = Secured::start(engine, &arguments).await else {
        return;
    };
    let reached = secured.reached(&secured.url("127.0.0.1", "")).await;
    assert_eq!(reached, Ok(true));
    let disabled = secured.url("127.0.0.1", "ssl-mode=disabled");
    let sentence = secured.reached(&disabled).await.expect_err("refused");
    assert!(sentence.contains("refuses access"), "{sentence}");
    // As it comes, over TLS and from the first to the last reading.
    let url = secured.url("127.0.0.1", "");
    let service = Service::start_with(&secured.database, |settings| {
        settings.database_url = Some(url);
    })
    .await;
    store(&service, 3).await;
    service.close().await;
    assert_eq!(secured.database.count("sensor_readings").await, 3);
}

async fn store(service: &Service, readings: u64) {
    let mut client = service.client().await;
    for n in 1..=readings {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
}

async fn a_certificate_proves_this_service(engine: Engine) {
    let Some(secured) = Secured::start(engine, &[]).await else {
        return;
    };
    let url = account(&secured, "certified", "BY 'pw'", "REQUIRE X509").await;
    let client = Pair::at(secured.dir.path(), "client");
    let wanted = Wanted {
        is_of_client: true,
        names: &["gate-1"],
        ..Wanted::default()
    };
    let parameters = format!("ssl-mode=verify-identity&ssl-ca={}", secured.ca);
    let with = format!(
        "{}&{parameters}&ssl-cert={}&ssl-key={}",
        url("127.0.0.1"),
        client.certificate.display(),
        client.key.display()
    );
    secured.authority.sign(wanted, &client);
    assert_eq!(secured.reached(&with).await, Ok(true));
    let without = format!("{}&{parameters}", url("127.0.0.1"));
    let sentence = secured.reached(&without).await.expect_err("refused");
    assert!(sentence.contains("refuses access"), "{sentence}");
    Authority::new("somebody else").sign(wanted, &client);
    let sentence = secured.reached(&with).await.expect_err("refused");
    assert!(
        sentence.contains("database.client_cert") || sentence.contains("refuses access"),
        "{sentence}"
    );
    std::fs::write(&client.key, "nothing").expect("written");
    let sentence = secured.reached(&with).await.expect_err("refused");
    assert!(sentence.contains("client.key"), "{sentence}");
}

async fn a_password_goes_to_no_server_elsewhere_that_is_not_verified(engine: Engine) {
    let Some(secured) = Secured::start(engine, &["--bind-address=*"]).await else {
        return;
    };
    let Some(address) = other_address() else {
        eprintln!("this host has no address but the loopback's: nothing was tested");
        return;
    };
    let address = address.to_string();
    secured
        .authority
        .sign(of_server(&[&address]), &secured.pair);
    secured.reload().await;
    let url = account(&secured, "elsewhere", "BY 'pw'", "").await;
    let url = url(&address);
    for mode in ["disabled", "preferred", "required"] {
        let sentence = secured.reached(&format!("{url}&ssl-mode={mode}")).await;
        let sentence = sentence.expect_err(mode);
        assert!(sentence.contains("has a password"), "{sentence}");
        assert!(sentence.contains("ssl-mode=verify-identity"), "{sentence}");
        assert!(!sentence.contains(":pw"), "{sentence}");
    }
    let verified = format!("{url}&ssl-mode=verify-identity&ssl-ca={}", secured.ca);
    assert_eq!(secured.reached(&verified).await, Ok(true));
    // Allowed, it is warned of at each start, and TLS is taken where the server has it.
    let before = secured.handshakes().await;
    let insecure = Program::start(&url, &["--database-insecure", "true"]).await;
    insecure.terminate();
    let ended = insecure.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("database.insecure lets"), "{ended:?}");
    assert!(ended.stderr.contains("tls=\"not verified\""), "{ended:?}");
    assert!(secured.handshakes().await > before);
    // Nothing can be taken from an account without a password, but its readings can.
    let url = account(&secured, "nobody", "", "").await;
    let bare = Program::start(&url(&address), &[]).await;
    bare.terminate();
    let ended = bare.ended().await;
    assert!(ended.stderr.contains("has no password"), "{ended:?}");
}

async fn readings_go_over_verified_tls(engine: Engine) {
    let Some(secured) = Secured::start(engine, &[]).await else {
        return;
    };
    let url = account(&secured, "verified", "BY 'pw'", "REQUIRE SSL").await;
    let url = url("localhost");
    let arguments = ["--database-ca", &secured.ca, "--ingest-lanes", "2"];
    let program = Program::start(&url, &arguments).await;
    let mut client = connect(program.grpc).await;
    let send = async |from: u64, client: &mut crate::common::service::Client| {
        for n in from..from + 20 {
            let reply = client.send_sensor_reading(reading(n)).await;
            assert_eq!(reply.expect("stored").into_inner().committed, 1);
        }
    };
    bounded(send(1, &mut client)).await;
    // Lost connections come back over TLS, to whatever certificate the server has by then.
    secured.authority.sign(of_server(&NAMES), &secured.pair);
    secured.reload().await;
    secured.database.end_connections().await;
    bounded(send(21, &mut client)).await;
    let rows = http::get(program.rest, "/sensor/ids?id1=-2&id2=gate-1").await;
    assert_eq!(rows.expect("answers").0, 200);
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("verified, with the server's name"),
        "{ended:?}"
    );
    assert_eq!(secured.database.count("sensor_readings").await, 40);
}
