//! How connections come in, for every door of both programs: accepted whatever happens to one of them, and cut off when they
//! do not begin in time. [`http`] serves what comes in over HTTP.

mod addresses;
mod complaint;
pub mod http;
mod listener;
mod taking;

pub use addresses::Counted;
pub use complaint::Complaint;
pub use listener::{Accepted, Begun, Crowd, Listener, NotBegun, begun};
