//! The cryptography of both programs: rustls with ring, and nothing else.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The provider. From the first call on it is the process's own, which libraries ask for that make connections by
/// themselves: without one they panic.
pub fn provider() -> Arc<CryptoProvider> {
    // Who comes second installs the same.
    let _ = ring::default_provider().install_default();
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(ring::default_provider()))
}
