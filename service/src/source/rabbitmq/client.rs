//! Connections to brokers, and what their errors mean.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    config::{BrokerTls, RabbitMqSettings, host_and_port},
    source::trouble::Trouble,
};

/// How long a broker may take until it has let us in.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// So often both sides show that they are there; who has not for twice as long is gone.
const HEARTBEAT_S: u16 = 10;
/// The password of the user `guest`, as brokers are shipped.
const SHIPPED_PASSWORD: &str = "guest";

/// Connects to the first of the brokers that answers.
pub(super) async fn connect(
    settings: &RabbitMqSettings,
    source: &str,
) -> Result<Connection, Trouble> {
    let password = match &settings.password {
        None => SecretString::from(SHIPPED_PASSWORD),
        Some(password) => password
            .read()
            .map_err(|error| Trouble::to_mend(format!("rabbitmq.password: {error}")))?,
    };
    let tls = match &settings.tls {
        None => OwnedTLSConfig::default(),
        Some(tls) => tls_config(tls).await?,
    };
    let mut failed = Vec::new();
    for broker in &settings.brokers {
        let Some((host, port)) = host_and_port(broker) else {
            continue;
        };
        let uri = AMQPUri {
            scheme: match settings.tls {
                Some(_) => AMQPScheme::AMQPS,
                None => AMQPScheme::AMQP,
            },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: settings.username.clone(),
                    password: password.expose_secret().to_owned(),
                },
                host: host.to_owned(),
                port,
            },
            vhost: settings.virtual_host.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT_S),
                ..AMQPQueryString::default()
            },
        };
        let name = format!("sluicegate {source}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| trouble(&error))?;
        let connecting = Connection::connect_uri_with_config(uri, properties, tls.clone(), runtime);
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => match trouble(&error) {
                Trouble::Passing(reason) => failed.push(format!("{broker}: {reason}")),
                // Another one would say the same.
                trouble => return Err(trouble),
            },
            Err(_) => failed.push(format!(
                "{broker}: it does not answer within {} s",
                CONNECT_LIMIT.as_secs()
            )),
        }
    }
    Err(Trouble::passing(format!(
        "none of the brokers answers: {}",
        failed.join("; ")
    )))
}

async fn tls_config(tls: &BrokerTls) -> Result<OwnedTLSConfig, Trouble> {
    let read = async |key: &str, path: &std::path::Path| {
        tokio::fs::read(path).await.map_err(|error| {
            let path = path.display();
            Trouble::to_mend(format!(
                "rabbitmq.tls.{key}: the file {path} cannot be read: {error}"
            ))
        })
    };
    let authorities = match &tls.ca {
        None => authorities_of_host().await?,
        Some(ca) => String::from_utf8_lossy(&read("ca", ca).await?).into_owned(),
    };
    let identity = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read("cert", cert).await?,
            key: read("key", key).await?,
        }),
        _ => None,
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain: Some(authorities),
    })
}

/// As PEM, which is how the client takes them.
async fn authorities_of_host() -> Result<String, Trouble> {
    let loading = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = loading
        .await
        .map_err(|error| Trouble::passing(error.to_string()))?;
    if found.certs.is_empty() {
        let reason = "rabbitmq.tls.ca: this host has no authorities of its own, so name one";
        return Err(Trouble::to_mend(reason));
    }
    let pem = |cert: &[u8]| {
        let text = BASE64_STANDARD.encode(cert);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    Ok(found.certs.iter().map(|cert| pem(cert)).collect())
}

/// What an error of the client means for the source.
pub(super) fn trouble(error: &lapin::Error) -> Trouble {
    let reason = error.to_string();
    match amqp_error(error) {
        Some(
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED),
        ) => Trouble::to_mend(reason),
        _ => Trouble::passing(reason),
    }
}

/// Other kinds of queues do not know of offsets.
pub(super) fn no_stream(queue: &str) -> Trouble {
    Trouble::to_mend(format!("{queue} is no stream: name it as rabbitmq.queue"))
}

/// Whether there is no such queue.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    amqp_error(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Whether the queue is not of the kind that was asked for.
pub(super) fn is_unfit(error: &lapin::Error) -> bool {
    amqp_error(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

/// Whether another connection has it alone.
pub(super) fn is_locked(error: &lapin::Error) -> bool {
    amqp_error(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED))
}

fn amqp_error(error: &lapin::Error) -> Option<AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind().clone()),
        _ => None,
    }
}
