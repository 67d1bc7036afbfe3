//! Asking others over HTTP.

use std::error::Error as _;

use reqwest::{Certificate, Client, Identity};
use sluicegate_transport::authorities;

use crate::{access::TlsFlags, error::Error};

/// A client for the health of this host's own generator, which is no secret: it trusts whoever answers.
pub(crate) fn client_for_health() -> Result<Client, Error> {
    sluicegate_transport::crypto::provider();
    Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| Error::Usage(describe(&error)))
}

/// A client that trusts, and proves itself, as the flags say.
pub(crate) fn client(tls: &TlsFlags) -> Result<Client, Error> {
    sluicegate_transport::crypto::provider();
    let mut builder = Client::builder();
    if let Some(ca) = tls.ca()? {
        let trusted =
            Certificate::from_pem_bundle(&ca).map_err(|error| tls.refuse_ca(&describe(&error)))?;
        builder = builder.tls_certs_only(trusted);
    } else if !authorities::are_there() {
        builder = builder.tls_certs_only([]);
    }
    if let Some((cert, key)) = tls.identity()? {
        let both = [cert, b"\n".to_vec(), key].concat();
        let identity =
            Identity::from_pem(&both).map_err(|error| tls.refuse_identity(&describe(&error)))?;
        builder = builder.identity(identity);
    }
    builder
        .build()
        .map_err(|error| Error::Usage(describe(&error)))
}

/// The cause that a person can do something about is the last one.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(source) = cause {
        text = source.to_string();
        cause = source.source();
    }
    text
}
