//! The addresses that the service listens on.

use std::{net::SocketAddr, path::Path};

use serde::Serialize;
use tokio::net::TcpListener;

use super::AppError;
use crate::{
    config::Config,
    ready_file::{self, ReadyFile},
};

/// Sockets that are bound before anything else, so that a port in use is known at once.
pub struct Listeners {
    pub grpc: TcpListener,
    pub rest: TcpListener,
}

impl Listeners {
    /// Binds both addresses.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub async fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = async |flag, addr| {
            TcpListener::bind(addr)
                .await
                .map_err(|reason| AppError::Listen { flag, addr, reason })
        };
        Ok(Self {
            grpc: bind("--grpc-addr", config.grpc_addr).await?,
            rest: bind("--rest-addr", config.rest_addr).await?,
        })
    }
}

/// Removes the ready file of an earlier process, if there is one.
///
/// # Errors
/// When it cannot be removed, or something else is in its place.
pub fn remove_old_ready_file(path: Option<&Path>) -> Result<(), AppError> {
    path.map_or(Ok(()), |path| {
        ready_file::remove_old(path).map_err(|reason| of_ready_file(path, reason))
    })
}

fn of_ready_file(path: &Path, reason: std::io::Error) -> AppError {
    AppError::ReadyFile {
        path: path.display().to_string(),
        reason,
    }
}

/// The addresses in use, for the ready file.
#[derive(Debug, Serialize)]
pub(super) struct Addresses {
    pub(super) grpc_addr: SocketAddr,
    pub(super) rest_addr: SocketAddr,
    pid: u32,
}

impl Addresses {
    pub(super) fn of(listeners: &Listeners) -> Result<Self, AppError> {
        let local = |flag, listener: &TcpListener| {
            listener.local_addr().map_err(|reason| AppError::Listen {
                flag,
                addr: SocketAddr::from(([0, 0, 0, 0], 0)),
                reason,
            })
        };
        Ok(Self {
            grpc_addr: local("--grpc-addr", &listeners.grpc)?,
            rest_addr: local("--rest-addr", &listeners.rest)?,
            pid: std::process::id(),
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<ReadyFile, AppError> {
        let failed = |reason| of_ready_file(path, reason);
        let text = serde_json::to_string(self).map_err(|error| failed(error.into()))?;
        ready_file::write(path, &(text + "\n")).map_err(failed)
    }
}
