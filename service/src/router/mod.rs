//! The doors: gRPC for producers, REST for people and tools. Both are thin: parse, call a use case, map the answer.

pub mod grpc;
mod request_id;
pub mod rest;

#[cfg(test)]
mod book;
