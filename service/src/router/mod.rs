//! The doors: gRPC for producers, REST for people and tools. Both are thin: parse, call a use case, map the answer.

mod caller;
pub mod grpc;
mod protection;
mod request_id;
pub mod rest;

pub use self::protection::Protection;

#[cfg(test)]
mod book;
