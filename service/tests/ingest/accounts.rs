//! How the account proves itself to the database: what works, and one sentence for what does not.

use sluicegate::embedded_db::Engine;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    common::{
        alone_on_each_engine, database::Database, on_each_engine, readings::reading,
        service::Service,
    },
    fake_mysql::{greeting, receive, send},
};

mod real {
    use super::*;

    alone_on_each_engine! {
        an_account_with_a_modern_plugin_stores_readings,
        an_account_of_somebody_else_is_refused,
    }
}

on_each_engine! {
    an_account_with_ed25519_signs,
    a_plugin_that_is_not_known_is_named,
}

async fn grant(database: &Database, create: &str, user: &str) {
    database.run(create).await;
    let schema = database.name();
    database
        .run(&format!("GRANT ALL ON {schema}.* TO {user}@localhost"))
        .await;
}

async fn an_account_with_a_modern_plugin_stores_readings(database: Database) {
    let user = format!("modern_{}", database.name());
    let identified = match database.engine() {
        // Its plugin is no part of the server itself.
        Engine::MariaDb if !database.tries("INSTALL SONAME 'auth_ed25519'").await => "BY 'pw'",
        Engine::MariaDb => "VIA ed25519 USING PASSWORD('pw')",
        Engine::MySql => "WITH caching_sha2_password BY 'pw'",
    };
    let create = format!("CREATE USER {user}@localhost IDENTIFIED {identified}");
    grant(&database, &create, &user).await;
    let url = database.url_of(&format!("{user}:pw"));
    let service =
        Service::start_with(&database, |settings| settings.database_url = Some(url)).await;
    let mut client = service.client().await;
    for n in 1..=3 {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
    service.close().await;
    database.run(&format!("DROP USER {user}@localhost")).await;
    database.tries("UNINSTALL SONAME 'auth_ed25519'").await;
}

async fn an_account_of_somebody_else_is_refused(database: Database) {
    let user = format!("odd_{}", database.name());
    let identified = match database.engine() {
        Engine::MariaDb => "VIA unix_socket",
        Engine::MySql => {
            database
                .tries("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'")
                .await;
            "WITH auth_socket"
        }
    };
    let create = format!("CREATE USER {user}@localhost IDENTIFIED {identified}");
    grant(&database, &create, &user).await;
    let sentence = refusal(&database, database.url_of(&format!("{user}:pw"))).await;
    assert!(sentence.contains("refuses access"), "{sentence}");
    database.run(&format!("DROP USER {user}@localhost")).await;
}

async fn refusal(database: &Database, url: String) -> String {
    let started = Service::try_start(database, |settings| settings.database_url = Some(url));
    let sentence = started.await.err().expect("refused");
    assert!(!sentence.starts_with("gave up"), "{sentence}");
    sentence
}

async fn an_account_with_ed25519_signs(database: Database) {
    let (port, signature) = server_that_asks_for("client_ed25519").await;
    let sentence = refusal(&database, url(port)).await;
    assert!(sentence.contains("refuses access"), "{sentence}");
    assert_eq!(signature.await.expect("no panic").len(), 64);
}

async fn a_plugin_that_is_not_known_is_named(database: Database) {
    let plugins = match database.engine() {
        Engine::MariaDb => [
            "mysql_old_password",
            "auth_gssapi_client",
            "dialog",
            "parsec",
        ],
        Engine::MySql => [
            "sha256_password",
            "mysql_clear_password",
            "authentication_ldap_sasl_client",
            "authentication_webauthn_client",
        ],
    };
    for plugin in plugins {
        let (port, _) = server_that_asks_for(plugin).await;
        let sentence = refusal(&database, url(port)).await;
        let named = match plugin {
            // The driver gives no name where its build lacks the cryptography.
            "parsec" => "authentication plugin",
            other => other,
        };
        assert!(sentence.contains(named), "{sentence}");
        assert!(sentence.contains("identify the account by"), "{sentence}");
    }
}

fn url(port: u16) -> String {
    format!("mysql://somebody:pw@127.0.0.1:{port}/sensors")
}

/// Speaks as much of the protocol as it takes to ask for a plugin, refuses, and returns what the client answered.
async fn server_that_asks_for(plugin: &'static str) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let answered = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        send(&mut client, 0, &greeting("mysql_native_password")).await;
        receive(&mut client).await;
        let mut request = [b"\xfe", plugin.as_bytes(), b"\0", &[7; 32], b"\0"].concat();
        if plugin == "parsec" {
            request.pop();
        }
        send(&mut client, 2, &request).await;
        let answer = receive(&mut client).await;
        if plugin == "parsec" {
            send(&mut client, 4, &[b"P\0".as_slice(), &[9; 18]].concat()).await;
            return receive(&mut client).await;
        }
        send(&mut client, 4, b"\xff\x15\x04#28000Access denied").await;
        answer
    });
    (port, answered)
}
