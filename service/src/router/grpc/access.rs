//! What each call needs of its caller, and what is answered to who is refused.

use hyper::{HeaderMap, Method, Response};
use sluicegate_proto::v1::sensor_service_server::SERVICE_NAME;
use tonic::body::Body;
use tracing::Span;

use super::{metrics::GrpcMetrics, status};
use crate::{
    auth::{Doorkeeper, Need, Refusal},
    telemetry::metrics::Word,
};

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Service, method, and what it needs. Balancers ask for the health without a token; the contract is shown to whoever has
/// one, for strangers need not know what there is to be tried.
const NEEDS: [(&str, &str, Need); 10] = [
    (SERVICE_NAME, "SendSensorReading", Need::Ingest),
    (SERVICE_NAME, "SendSensorBatch", Need::Ingest),
    (SERVICE_NAME, "StreamReadings", Need::Ingest),
    (SERVICE_NAME, "StreamReadingsAcked", Need::Ingest),
    (SERVICE_NAME, "OpenStream", Need::Ingest),
    (SERVICE_NAME, "WatchReadings", Need::Read),
    (HEALTH, "Check", Need::Nothing),
    (HEALTH, "Watch", Need::Nothing),
    (REFLECTION, "ServerReflectionInfo", Need::Known),
    (REFLECTION_ALPHA, "ServerReflectionInfo", Need::Known),
];

/// The door's side of the gate.
#[derive(Clone, Debug)]
pub(super) struct GrpcDoorkeeper {
    pub(super) metrics: GrpcMetrics,
}

impl Doorkeeper for GrpcDoorkeeper {
    type Answer = Response<Body>;

    const DOOR: Word = Word("grpc");

    fn need(&self, _: &Method, path: &str) -> Need {
        need(path)
    }

    fn refuse(&self, _: &Method, path: &str, _: &HeaderMap, refusal: Refusal) -> Response<Body> {
        let status = status::of_refusal(&refusal);
        self.metrics.call(path, Span::none()).ends(status.code());
        status.into_http()
    }
}

/// A call that there is not needs a token, too.
fn need(path: &str) -> Need {
    let called = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    NEEDS
        .iter()
        .find(|&&(service, method, _)| called == Some((service, method)))
        .map_or(Need::Known, |&(.., need)| need)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_of_the_contract_is_in_the_table() {
        let mut calls = 0;
        for encoded in [
            sluicegate_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let set = FileDescriptorSet::decode(encoded).unwrap();
            for file in set.file {
                for service in file.service {
                    let service_name = format!(
                        "{}.{}",
                        file.package.as_deref().unwrap(),
                        service.name.unwrap()
                    );
                    for method in service.method {
                        let method = method.name.unwrap();
                        let is_there = NEEDS
                            .iter()
                            .any(|&(service, name, _)| service == service_name && name == method);
                        assert!(is_there, "{service_name}/{method}: say what it needs");
                        calls += 1;
                    }
                }
            }
        }
        assert_eq!(calls, NEEDS.len());
    }

    #[test]
    fn a_path_that_is_written_otherwise_is_another_call() {
        let path = format!("/{SERVICE_NAME}/OpenStream");
        assert_eq!(need(&path), Need::Ingest);
        for other in [
            "",
            "/",
            "//",
            &path[1..],
            &format!("{path}/"),
            &path.to_lowercase(),
        ] {
            assert_eq!(need(other), Need::Known, "{other}");
        }
        assert_eq!(need("/grpc.health.v1.Health/Check"), Need::Nothing);
        assert_eq!(need("/grpc.health.v1.Health/Check/"), Need::Known);
    }
}
