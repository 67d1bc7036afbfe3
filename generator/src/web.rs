//! Asking others over HTTP.

use reqwest::Client;

/// A client.
pub(crate) fn client() -> Client {
    sluicegate_transport::crypto::provider();
    Client::new()
}
