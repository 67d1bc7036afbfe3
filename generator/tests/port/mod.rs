//! A port where a model of the service comes and goes.

use std::net::SocketAddr;

use tokio::{net::TcpSocket, runtime::Runtime};

use crate::fake::Fake;

/// A port that is ours for the whole test, whether anybody listens there or not: a free one could be taken by another
/// test in the meantime, or even by the generator that tries to reach it.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _holder: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let holder = Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = holder.local_addr().unwrap();
        Self {
            address,
            _holder: holder,
        }
    }

    fn bind(address: SocketAddr) -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        socket
    }

    /// On a runtime of its own, with which the server and all of its connections end.
    pub(crate) fn serve(&self, fake: &Fake) -> Runtime {
        let runtime = Runtime::new().unwrap();
        let within = runtime.enter();
        fake.serve_on(Self::bind(self.address).listen(128).unwrap());
        drop(within);
        runtime
    }
}
