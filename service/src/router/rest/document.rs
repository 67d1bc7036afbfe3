//! The OpenAPI document: what each handler says of itself, and what its route needs.

use std::sync::LazyLock;

use utoipa::OpenApi;

use super::{
    access, analysis, changes, docs, health,
    intake::{influx, readings as new_readings},
    live,
    new_values::NewValues,
    owner,
    problem::ProblemDocument,
    quarantine, readings, retention, series, sources, streams,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluicegate",
        description = "Takes sensor readings in, beside gRPC, and manages those that are stored. Every path also stands at the root."
    ),
    servers((url = "/api/v1"), (url = "/")),
    tags(
        (name = "readings", description = "Query and export"),
        (name = "analysis", description = "Newest readings and figures per time bucket"),
        (name = "changes", description = "Delete and update"),
        (name = "influxdb", description = "What clients of InfluxDB write to, and what they ask first"),
        (name = "series", description = "Which series there are, and what is said of them; on the layout series"),
        (name = "streams", description = "The ledger of streams"),
        (name = "quarantine", description = "Readings that were not stored: look, replay, remove"),
        (name = "sources", description = "What readings are fetched from"),
        (name = "service", description = "State of the service")
    ),
    paths(
        readings::by_time, readings::by_ids, readings::by_ids_time,
        analysis::latest, analysis::aggregate,
        live::live,
        new_readings::post,
        influx::write_v2, influx::write_v1, influx::query,
        influx::ping, influx::health, influx::ready,
        changes::delete_by_time, changes::delete_by_ids, changes::delete_by_ids_time,
        changes::update_by_time, changes::update_by_ids, changes::update_by_ids_time,
        retention::confirm,
        streams::all, streams::one, owner::set_owner,
        quarantine::of_stream, quarantine::all, quarantine::remove, quarantine::replay,
        series::list_series, series::count_series, series::one_series, series::set_tags, series::merge_tags,
        series::tag_many, series::remove_unused,
        sources::all_sources, sources::pause_source, sources::resume_source,
        health::healthz, health::readyz, health::version, health::metrics,
        docs::openapi, docs::page, docs::page_file, docs::swagger, docs::swagger_file
    ),
    components(schemas(ProblemDocument<'static>, NewValues, influx::InfluxProblem, live::LiveReadingsView))
)]
struct Document;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = Document::openapi();
    access::describe(&mut document);
    document.to_pretty_json().unwrap_or_default()
});

/// The OpenAPI document as JSON.
#[must_use]
pub fn openapi_json() -> &'static str {
    &DOCUMENT
}
