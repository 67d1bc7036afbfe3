//! How long a client waits for a call.

use std::{future::Future, time::Duration};

use hyper::HeaderMap;
use tonic::Status;

use super::status;

/// How long the client waits, as it says itself: digits and a unit in `grpc-timeout`. What cannot be read is no limit.
pub(super) fn client_deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // So many at the most, says the protocol.
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Ends a call whose client waits no longer.
pub(super) async fn within<T>(
    deadline: Option<Duration>,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout(deadline, answer)
            .await
            .unwrap_or_else(|_| Err(status::client_deadline(deadline))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_client_is_read_in_every_unit() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            client_deadline(&headers)
        };
        for (text, expected) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("50m", Duration::from_millis(50)),
            ("60u", Duration::from_micros(60)),
            ("70n", Duration::from_nanos(70)),
        ] {
            assert_eq!(read(text), Some(expected));
        }
        for none in ["", "5", "S", "5x", "-5S", "123456789S"] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
