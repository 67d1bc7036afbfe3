//! How what a generator itself serves is kept: its API, and the figures of a run.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sluicegate_transport::{Lifetime, http, tls::Tls};

/// Far more than a fleet, a browser and Prometheus need.
const BOUNDS: http::Bounds = http::Bounds {
    connections: 256,
    connections_per_address: None,
    write_deadline: Duration::from_secs(60),
    header_bytes: 64 << 10,
    lifetime: Lifetime {
        max_age: None,
        grace: Duration::ZERO,
    },
};

pub(crate) fn door(tls: Option<Arc<Tls>>) -> http::Door {
    http::Door {
        bounds: BOUNDS,
        tls,
        crowded: Box::new(|| ()),
    }
}

/// What is missing for an API at this address to let nobody in who does not belong; None where nothing is, or nobody but this
/// host reaches it. Whoever drives a generator can have it send its own token anywhere.
pub(crate) fn exposure(addr: SocketAddr, has_tls: bool, has_token: bool) -> Option<String> {
    let missing = match (has_tls, has_token) {
        _ if addr.ip().to_canonical().is_loopback() => return None,
        (true, true) => return None,
        (false, false) => "no TLS (--api-tls-cert, --api-tls-key) and no token (--api-token-file)",
        (false, true) => {
            "no TLS (--api-tls-cert, --api-tls-key), so that the token can be read on its way"
        }
        (true, false) => "no token (--api-token-file)",
    };
    Some(format!(
        "--addr is {addr}, which others can reach, and there is {missing}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_others_takes_both_a_certificate_and_a_token() {
        let missing = |addr: &str, has_tls, has_token| {
            exposure(addr.parse().expect("an address"), has_tls, has_token)
        };
        for addr in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(missing(addr, false, false), None, "{addr}");
        }
        for addr in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert_eq!(missing(addr, true, true), None, "{addr}");
            for (has_tls, has_token, named) in [
                (
                    false,
                    false,
                    "no TLS (--api-tls-cert, --api-tls-key) and no token (--api-token-file)",
                ),
                (false, true, "no TLS"),
                (true, false, "there is no token"),
            ] {
                let sentence = missing(addr, has_tls, has_token).expect(addr);
                assert!(
                    sentence.contains(named) && sentence.contains(addr),
                    "{sentence}"
                );
            }
        }
    }
}
