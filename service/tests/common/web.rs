//! Clients with everything that HTTP has.

/// A client with everything that HTTP has.
pub(crate) fn client() -> reqwest::Client {
    builder().build().expect("a client")
}

pub(crate) fn builder() -> reqwest::ClientBuilder {
    sluicegate_transport::crypto::provider();
    reqwest::Client::builder()
}
