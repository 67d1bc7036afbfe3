//! The contract of Sluicegate: messages, client and server of `sluicegate.v1.SensorService`, and with the feature
//! `producer` a [`producer::Producer`] that delivers readings exactly once; with `spool` one that keeps them on disk meanwhile.

#[cfg(feature = "producer")]
pub mod producer;
#[cfg(feature = "spool")]
pub mod spool;

/// Messages, client and server of the package `sluicegate.v1`.
pub mod v1 {
    #![allow(
        clippy::all,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        reason = "generated code is not ours to style"
    )]
    tonic::include_proto!("sluicegate.v1");
}

/// The encoded `FileDescriptorSet` of the contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/sluicegate.v1.bin"));
