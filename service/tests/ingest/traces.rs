//! Traces of the real program, at a collector that speaks the same protocol: opentelemetry-proto is its contract.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use sluicegate_proto::v1::{
    OpenStreamRequest, SensorBatch, sensor_service_client::SensorServiceClient,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::common::{
    database::Database,
    http, on_each_engine,
    program::Program,
    readings::{position, readings, resume, rows},
    until,
};

on_each_engine! {
    a_batch_a_call_and_a_request_are_traced,
    a_collector_that_does_not_answer_holds_nothing_up,
}

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    resources: Arc<Mutex<Vec<KeyValue>>>,
    is_silent: bool,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.expect("a resource").attributes;
            *self.resources.lock().expect("no panic") = attributes;
            let spans = of_resource.scope_spans.into_iter();
            let spans = spans.flat_map(|of_scope| of_scope.spans);
            self.spans.lock().expect("no panic").extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Takes spans in until the test ends.
    async fn listen(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound");
        let server = Server::builder().add_service(TraceServiceServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        addr
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("no panic").clone()
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.iter().filter_map(|it| {
        let value = it.value.as_ref()?.value.as_ref()?;
        Some((it.key.clone(), text(value)))
    });
    pairs.collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

async fn a_batch_a_call_and_a_request_are_traced(database: Database) {
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.clone().listen().await);
    let arguments = [
        "--telemetry-otlp-endpoint",
        &endpoint,
        "--instance",
        "traced",
    ];
    let program = Program::start(&database.url(), &arguments).await;
    let mut client = SensorServiceClient::connect(format!("http://{}", program.grpc))
        .await
        .expect("connects");
    let opened = client
        .open_stream(OpenStreamRequest {
            stream_id: "probe-7".to_owned(),
            resume: None,
        })
        .await
        .expect("opened")
        .into_inner();
    let mut request = Request::new(tokio_stream::iter([
        resume("probe-7", &opened),
        rows(readings(1..101)),
    ]));
    let id = "what-the-client-calls-it".parse().expect("ASCII");
    request.metadata_mut().insert("x-request-id", id);
    client.stream_readings(request).await.expect("stored");
    let batch = SensorBatch {
        readings: readings(101..104),
        position: Some(position("probe-7", opened.epoch, 101)),
    };
    client.send_sensor_batch(batch).await.expect("stored");
    http::get(program.rest, "/sensor/latest?id1=1&id2=none")
        .await
        .expect("answered");
    // All that has ended is sent at the end.
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let spans = collector.spans();
    let resource = texts(&collector.resources.lock().expect("no panic"));
    assert_eq!(resource["service.name"], "sluicegate");
    assert_eq!(resource["service.instance.id"], "traced");
    let batches = named(&spans, "batch");
    assert_eq!(batches.len(), 2, "{spans:#?}");
    for batch in batches {
        let attributes = texts(&batch.attributes);
        let (readings, lane) = (attributes["readings"].as_str(), attributes["lane"].as_str());
        assert!(["100", "3"].contains(&readings), "{attributes:?}");
        assert_eq!(attributes["streams"], "1");
        assert_eq!(attributes["messages"], "1");
        // Of a lane each, or of the same one.
        assert!(
            ["1", "2"].contains(&&*attributes["number"]),
            "of lane {lane}"
        );
        assert!(batch.parent_span_id.is_empty());
        let mut steps: Vec<_> = spans
            .iter()
            .filter(|span| span.parent_span_id == batch.span_id)
            .collect();
        steps.sort_by_key(|step| step.start_time_unix_nano);
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["gather", "seal", "load", "commit", "acknowledge"]);
        for step in &steps {
            assert_eq!(step.trace_id, batch.trace_id);
            assert!(step.start_time_unix_nano >= batch.start_time_unix_nano);
            assert!(step.end_time_unix_nano <= batch.end_time_unix_nano);
        }
        assert_eq!(texts(&steps[1].attributes)["readings"], readings);
        assert_eq!(texts(&steps[2].attributes)["rows"], readings);
    }
    for (name, stream) in [
        ("OpenStream", "probe-7"),
        ("StreamReadings", "probe-7"),
        ("SendSensorBatch", "probe-7"),
    ] {
        let [call] = named(&spans, name)[..] else {
            panic!("one {name} in {spans:#?}");
        };
        let attributes = texts(&call.attributes);
        assert_eq!(call.kind(), SpanKind::Server);
        assert_eq!(attributes["stream"], stream);
        assert_eq!(attributes["code"], "OK");
        assert_eq!(attributes["rpc.system"], "grpc");
        match name {
            "StreamReadings" => assert_eq!(attributes["id"], "what-the-client-calls-it"),
            _ => assert_eq!(attributes["id"].len(), 16),
        }
    }
    let [request] = named(&spans, "GET /sensor/latest")[..] else {
        panic!("one request in {spans:#?}");
    };
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(
        texts(&request.attributes)["http.response.status_code"],
        "200"
    );
}

async fn a_collector_that_does_not_answer_holds_nothing_up(database: Database) {
    let collector = Collector {
        is_silent: true,
        ..Collector::default()
    };
    let endpoint = format!("http://{}", collector.listen().await);
    let arguments = [
        "--telemetry-otlp-endpoint",
        &endpoint,
        "--ingest-lanes",
        "1",
    ];
    let program = Program::start(&database.url(), &arguments).await;
    let mut client = SensorServiceClient::connect(format!("http://{}", program.grpc))
        .await
        .expect("connects");
    let figure = async |name: &str| {
        let answer = http::text(program.rest, "/metrics").await;
        let (_, page) = answer.expect("answered");
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let value = line.expect("a figure").trim();
        value.parse::<f64>().expect("a number")
    };
    // Six spans and more for each: as many as wait, and as many again.
    for n in 0..2_000 {
        let batch = SensorBatch {
            readings: readings(n..n + 1),
            position: None,
        };
        let sent = tokio::time::timeout(Duration::from_secs(30), client.send_sensor_batch(batch));
        sent.await.expect("in time").expect("stored");
    }
    let full = "sluicegate_trace_spans_dropped_total{reason=\"queue_full\"}";
    until("spans are dropped", async || figure(full).await > 0.0).await;
    let not_taken = "sluicegate_trace_spans_dropped_total{reason=\"not_taken\"}";
    until("the collector is given up", async || {
        figure(not_taken).await > 0.0
    })
    .await;
    assert_eq!(figure("sluicegate_trace_spans_exported_total").await, 0.0);
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "the collector does not take traces: they are dropped";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}
