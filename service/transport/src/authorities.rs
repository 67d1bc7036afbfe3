//! Whom this host trusts.

/// Whether there are authorities that this host trusts. An image that holds nothing but a program has none, and there a client
/// has to do without: it then speaks plain HTTP, and TLS to whom it was told to trust.
#[must_use]
pub fn are_there() -> bool {
    !rustls_native_certs::load_native_certs().certs.is_empty()
}
