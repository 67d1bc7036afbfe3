//! What is spoken on a connection of TLS.

/// What a door speaks, which client and server agree on in the handshake (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC: HTTP/2 and nothing else.
    Rpc,
    /// HTTP/2, or HTTP/1.1 with those who have no other.
    Web,
}

impl Protocol {
    pub(super) fn names(self) -> Vec<Vec<u8>> {
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Rpc => vec![h2],
            Self::Web => vec![h2, http1],
        }
    }
}
