//! How connections come in, for every door of both programs: accepted whatever happens to one of them, and cut off when they
//! do not begin in time. [`http`] serves what comes in over HTTP. [`crypto`], [`core_dumps`] and [`files`] are what else both have to
//! have alike.

mod addresses;
pub mod authorities;
mod complaint;
pub mod core_dumps;
pub mod crypto;
pub mod files;
pub mod http;
mod idle;
mod lifetime;
mod listener;
pub mod pages;
mod peer;
mod taking;
pub mod tls;
mod wire;

pub use addresses::Counted;
pub use complaint::Complaint;
pub use idle::{ActiveCall, Activity, IdleConnections};
pub use lifetime::{Age, Lifetime};
pub use listener::{Accepted, Begun, Crowd, Listener, NotBegun, TURN_AWAY_PAUSE, begin};
pub use peer::Peer;
pub use wire::Wire;
