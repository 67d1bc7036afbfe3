//! Who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::tls::PeerCertificate;

/// What a connection says of its client. An extension of each request.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// What the client proved itself with, if the connection is one of TLS and the client has a certificate of an authority
    /// that is trusted.
    pub certificate: Option<Arc<PeerCertificate>>,
}
