//! Settings under `grpc:`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use sluicegate_transport::Lifetime;

use super::{ConfigError, check::within};

/// Settings under `grpc:`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcOverrides {
    /// Largest message taken, bytes; 65536 to 67108864, and no less than producers send, which is 262144 for
    /// `Producer` as it comes [default: 4194304]
    #[arg(
        long = "grpc-max-message-bytes",
        env = "SLUICEGATE_GRPC_MAX_MESSAGE_BYTES",
        value_name = "BYTES"
    )]
    pub max_message_bytes: Option<usize>,

    /// Headers of a call, bytes, with 32 for each beside its name and value; 1024 to 1048576. A call with more is refused
    /// [default: 8192]
    #[arg(
        id = "grpc_max_header_bytes",
        long = "grpc-max-header-bytes",
        env = "SLUICEGATE_GRPC_MAX_HEADER_BYTES",
        value_name = "BYTES"
    )]
    pub max_header_bytes: Option<u32>,

    /// Calls at once on one connection; 1 to 1048576. Whatever it says, one connection has at most a quarter of
    /// `grpc.max_open_calls`, or 16 where that is less [default: 1024]
    #[arg(
        long = "grpc-max-concurrent-calls",
        env = "SLUICEGATE_GRPC_MAX_CONCURRENT_CALLS",
        value_name = "N"
    )]
    pub max_concurrent_calls: Option<u32>,

    /// Calls at once over all connections; 1 to 1048576. The health is answered beyond them [default: 2048]
    #[arg(
        long = "grpc-max-open-calls",
        env = "SLUICEGATE_GRPC_MAX_OPEN_CALLS",
        value_name = "N"
    )]
    pub max_open_calls: Option<usize>,

    /// Connections at once; 1 to 65536. When all are taken, the one that has been without a call for longest, but for one that
    /// asks for the health, is closed for a new one. What is on its way on each is memory too: at least 64 KiB [default: 512]
    #[arg(
        id = "grpc_max_connections",
        long = "grpc-max-connections",
        env = "SLUICEGATE_GRPC_MAX_CONNECTIONS",
        value_name = "N"
    )]
    pub max_connections: Option<usize>,

    /// Connections at once from one address, in IPv6 from one /64; those beyond are closed; 1 to 65536. Without it as many as
    /// come: behind a proxy or a NAT all have one address [default: none]
    #[arg(
        id = "grpc_max_connections_per_address",
        long = "grpc-max-connections-per-address",
        env = "SLUICEGATE_GRPC_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N"
    )]
    pub max_connections_per_address: Option<usize>,

    /// Longest life of a connection, seconds; 1 to 31536000, or up to a tenth less. Then its client is told to open another
    /// one, which meets balancers and certificates anew [default: none]
    #[arg(
        id = "grpc_max_connection_age_s",
        long = "grpc-max-connection-age-s",
        env = "SLUICEGATE_GRPC_MAX_CONNECTION_AGE_S",
        value_name = "SECONDS"
    )]
    pub max_connection_age_s: Option<u64>,

    /// How long calls on a connection that has reached its age may take to end before they are ended, seconds; 0 to 86400
    /// [default: 30]
    #[arg(
        id = "grpc_connection_grace_s",
        long = "grpc-connection-grace-s",
        env = "SLUICEGATE_GRPC_CONNECTION_GRACE_S",
        value_name = "SECONDS"
    )]
    pub connection_grace_s: Option<u64>,

    /// Memory for what is on its way on fast connections, beyond 64 KiB for each, bytes; 0 to 1073741824
    /// [default: 33554432]
    #[arg(
        long = "grpc-window-bytes",
        env = "SLUICEGATE_GRPC_WINDOW_BYTES",
        value_name = "BYTES"
    )]
    pub window_bytes: Option<usize>,

    /// How long a message may take to arrive once it has begun and there is room for it, and a unary call to bring its
    /// message, seconds; 1 to 3600 [default: 30]
    #[arg(
        long = "grpc-message-deadline-s",
        env = "SLUICEGATE_GRPC_MESSAGE_DEADLINE_S",
        value_name = "SECONDS"
    )]
    pub message_deadline_s: Option<u64>,

    /// Ends a stream that brings nothing for so long, seconds; 1 to 86400 [default: 600]
    #[arg(
        long = "grpc-idle-limit-s",
        env = "SLUICEGATE_GRPC_IDLE_LIMIT_S",
        value_name = "SECONDS"
    )]
    pub idle_limit_s: Option<u64>,

    /// Pings silent connections, seconds between pings; 1 to 86400 [default: 30]
    #[arg(
        long = "grpc-keepalive-s",
        env = "SLUICEGATE_GRPC_KEEPALIVE_S",
        value_name = "SECONDS"
    )]
    pub keepalive_s: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct GrpcConfig {
    pub max_message_bytes: usize,
    pub max_header_bytes: u32,
    pub max_concurrent_calls: u32,
    pub max_open_calls: usize,
    pub max_connections: usize,
    /// None: as many as come.
    pub max_connections_per_address: Option<usize>,
    /// None: for as long as both sides keep them.
    pub max_connection_age_s: Option<u64>,
    pub connection_grace_s: u64,
    pub window_bytes: usize,
    pub idle_limit_s: u64,
    pub message_deadline_s: u64,
    pub keepalive_s: u64,
}

impl GrpcConfig {
    pub(super) fn merge(given: GrpcOverrides, file: GrpcOverrides) -> Self {
        Self {
            max_message_bytes: given
                .max_message_bytes
                .or(file.max_message_bytes)
                .unwrap_or(4 << 20),
            max_header_bytes: given
                .max_header_bytes
                .or(file.max_header_bytes)
                .unwrap_or(8 << 10),
            max_concurrent_calls: given
                .max_concurrent_calls
                .or(file.max_concurrent_calls)
                .unwrap_or(1024),
            max_open_calls: given.max_open_calls.or(file.max_open_calls).unwrap_or(2048),
            max_connections: given
                .max_connections
                .or(file.max_connections)
                .unwrap_or(512),
            max_connections_per_address: given
                .max_connections_per_address
                .or(file.max_connections_per_address),
            max_connection_age_s: given.max_connection_age_s.or(file.max_connection_age_s),
            connection_grace_s: given
                .connection_grace_s
                .or(file.connection_grace_s)
                .unwrap_or(30),
            window_bytes: given.window_bytes.or(file.window_bytes).unwrap_or(32 << 20),
            message_deadline_s: given
                .message_deadline_s
                .or(file.message_deadline_s)
                .unwrap_or(30),
            idle_limit_s: given.idle_limit_s.or(file.idle_limit_s).unwrap_or(600),
            keepalive_s: given.keepalive_s.or(file.keepalive_s).unwrap_or(30),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within(
            "grpc.max_message_bytes",
            self.max_message_bytes as u64,
            1 << 16,
            64 << 20,
            "65536 to 67108864",
        )?;
        within(
            "grpc.max_header_bytes",
            self.max_header_bytes.into(),
            1 << 10,
            1 << 20,
            "1024 to 1048576",
        )?;
        within(
            "grpc.max_concurrent_calls",
            self.max_concurrent_calls.into(),
            1,
            1 << 20,
            "1 to 1048576",
        )?;
        within(
            "grpc.max_open_calls",
            self.max_open_calls as u64,
            1,
            1 << 20,
            "1 to 1048576",
        )?;
        within(
            "grpc.max_connections",
            self.max_connections as u64,
            1,
            1 << 16,
            "1 to 65536",
        )?;
        within(
            "grpc.max_connections_per_address",
            self.max_connections_per_address.unwrap_or(1) as u64,
            1,
            1 << 16,
            "1 to 65536",
        )?;
        within(
            "grpc.max_connection_age_s",
            self.max_connection_age_s.unwrap_or(1),
            1,
            31_536_000,
            "1 to 31536000",
        )?;
        within(
            "grpc.connection_grace_s",
            self.connection_grace_s,
            0,
            86_400,
            "0 to 86400",
        )?;
        within(
            "grpc.window_bytes",
            self.window_bytes as u64,
            0,
            1 << 30,
            "0 to 1073741824",
        )?;
        within(
            "grpc.message_deadline_s",
            self.message_deadline_s,
            1,
            3_600,
            "1 to 3600",
        )?;
        within(
            "grpc.idle_limit_s",
            self.idle_limit_s,
            1,
            86_400,
            "1 to 86400",
        )?;
        within(
            "grpc.keepalive_s",
            self.keepalive_s,
            1,
            86_400,
            "1 to 86400",
        )
    }

    /// How long connections live.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        Lifetime {
            max_age: self.max_connection_age_s.map(Duration::from_secs),
            grace: Duration::from_secs(self.connection_grace_s),
        }
    }
}
