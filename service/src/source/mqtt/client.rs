//! What a session is like, and what its errors mean.

use std::{path::Path, time::Duration};

use native_tls::{Certificate, Identity, TlsConnector};
use rumqttc::{
    TlsConfiguration, Transport,
    v5::{ConnectionError, MqttOptions, StateError, mqttbytes::v5::ConnectReturnCode},
};
use secrecy::ExposeSecret as _;

use crate::{
    config::{BrokerTls, MqttSettings, host_and_port},
    source::trouble::Trouble,
};

/// The longest name that all brokers take is shorter, but they all take longer ones.
const CLIENT_ID_MAX_BYTES: usize = 128;
const CONNECT_LIMIT_S: u64 = 10;

pub(super) async fn options(settings: &MqttSettings, source: &str) -> Result<MqttOptions, Trouble> {
    let Some((host, port)) = host_and_port(&settings.broker) else {
        return Err(Trouble::to_mend("mqtt.broker: it takes HOST:PORT"));
    };
    let client_id = settings.client_id.clone().unwrap_or_else(|| {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        format!("sluicegate-{host}-{source}")
            .chars()
            .take(CLIENT_ID_MAX_BYTES)
            .collect()
    });
    let mut options = MqttOptions::new(client_id, host, port);
    options
        .set_keep_alive(Duration::from_secs(settings.keep_alive_s.into()))
        .set_connection_timeout(CONNECT_LIMIT_S)
        .set_clean_start(false)
        .set_session_expiry_interval(Some(settings.session_expiry_s))
        .set_receive_maximum(Some(settings.receive_maximum))
        .set_max_packet_size(Some(settings.max_packet_bytes))
        .set_manual_acks(true);
    if let Some(username) = &settings.username {
        let password = match &settings.password {
            None => String::new(),
            Some(password) => password
                .read()
                .map_err(|error| Trouble::to_mend(format!("mqtt.password: {error}")))?
                .expose_secret()
                .to_owned(),
        };
        options.set_credentials(username, password);
    }
    if let Some(tls) = &settings.tls {
        let connector = connector(tls).await?;
        let connector = TlsConfiguration::NativeConnector(connector);
        options.set_transport(Transport::tls_with_config(connector));
    }
    Ok(options)
}

async fn connector(tls: &BrokerTls) -> Result<TlsConnector, Trouble> {
    let read = async |key: &str, path: &Path| {
        tokio::fs::read(path).await.map_err(|error| {
            let path = path.display();
            Trouble::to_mend(format!(
                "mqtt.tls.{key}: the file {path} cannot be read: {error}"
            ))
        })
    };
    let wrong =
        |key: &str, error: native_tls::Error| Trouble::to_mend(format!("mqtt.tls.{key}: {error}"));
    let mut builder = TlsConnector::builder();
    if let Some(ca) = &tls.ca {
        builder.disable_built_in_roots(true);
        let pem = read("ca", ca).await?;
        let authorities = Certificate::stack_from_pem(&pem).map_err(|error| wrong("ca", error))?;
        for authority in authorities {
            builder.add_root_certificate(authority);
        }
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let (cert, key) = (read("cert", cert).await?, read("key", key).await?);
        let identity = Identity::from_pkcs8(&cert, &key).map_err(|error| wrong("cert", error))?;
        builder.identity(identity);
    }
    builder.build().map_err(|error| wrong("ca", error))
}

/// What an error of the client means for the source.
pub(super) fn trouble(settings: &MqttSettings, error: &ConnectionError) -> Trouble {
    let broker = &settings.broker;
    match error {
        ConnectionError::ConnectionRefused(code) => {
            let reason = format!("the broker {broker} refuses us: {code:?}");
            match code {
                ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::UnsupportedProtocolVersion
                | ConnectReturnCode::RefusedProtocolVersion => Trouble::to_mend(reason),
                _ => Trouble::passing(reason),
            }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => {
            let more = reason_string.as_deref().unwrap_or_default();
            Trouble::passing(format!(
                "the broker {broker} has ended the connection: {reason_code:?} {more}"
            ))
        }
        error => Trouble::passing(format!("the broker {broker}: {error}")),
    }
}
