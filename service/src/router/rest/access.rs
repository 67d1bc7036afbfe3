//! What is answered to who is refused. What each route needs stands in the table of routes.

use std::sync::Arc;

use utoipa::openapi::{
    Content, OpenApi, Ref, ResponseBuilder,
    path::Operation,
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};
use warp::{
    http::{HeaderMap, HeaderValue, Method, header},
    reply::Response,
};

use super::{
    answer::Answer,
    metrics::{NO_ROUTE, RestMetrics},
    problem::{Kind, Problem},
    routes,
};
use crate::{
    auth::{Doorkeeper, Need, Refusal},
    router::request_id::{REQUEST_ID, request_id},
    telemetry::metrics::Word,
};

/// As the document calls it.
const SCHEME: &str = "token";

/// The door's side of the gate.
#[derive(Clone, Debug)]
pub(super) struct RestDoorkeeper {
    pub(super) metrics: RestMetrics,
    /// Origins whose pages may read the answers.
    pub(super) origins: Arc<[String]>,
}

impl RestDoorkeeper {
    /// Without it a page of such an origin hears of no status, and could not ask its user for a token.
    fn let_read(&self, headers: &HeaderMap, response: &mut Response) {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return;
        };
        if self.origins.iter().any(|it| it == "*" || *origin == **it) {
            let answered = response.headers_mut();
            answered.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answered.insert(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

impl Doorkeeper for RestDoorkeeper {
    type Answer = Response;

    const DOOR: Word = Word("rest");

    fn need(&self, method: &Method, path: &str) -> Need {
        // What a browser asks before a request to another origin never has a token, and gets no data.
        if *method == Method::OPTIONS {
            return Need::Nothing;
        }
        // A path that there is not needs a token, too.
        routes::find(method, path).map_or(Need::Known, |route| route.need)
    }

    fn refuse(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        refusal: Refusal,
    ) -> Response {
        let problem = Problem::from(refusal);
        let route = routes::find(method, path).map_or(NO_ROUTE, |route| route.path);
        self.metrics
            .answered(method, route, problem.status(), std::time::Duration::ZERO);
        let id = request_id(headers);
        let mut response = Answer::of_problem(&problem, &id).into_small_response();
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        self.let_read(headers, &mut response);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Missing | Refusal::Unreadable | Refusal::Invalid => Kind::Unauthenticated,
            Refusal::Scope { .. } => Kind::PermissionDenied,
            Refusal::TooMany { .. } => Kind::TooManyFailures,
        };
        let sentence = refusal.to_string();
        let (first, rest) = sentence.split_at(1);
        let mut problem = Self::new(kind, format!("{}{rest}.", first.to_uppercase()));
        if let Refusal::TooMany { retry_after } = refusal {
            problem.retry_after = Some(retry_after);
        }
        problem
    }
}

/// Writes into the document what each route needs, and how it refuses.
pub(super) fn describe(document: &mut OpenApi) {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("sg_<id>_<secret>".to_owned());
    bearer.description = Some(
        "A token of `sluicegate token new`. A service without auth.tokens asks nobody for one."
            .to_owned(),
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let (Some(operation), Some(route)) = (operation, routes::find(&method, path)) {
                describe_operation(operation, route.need);
            }
        }
    }
}

fn describe_operation(operation: &mut Operation, need: Need) {
    if need == Need::Nothing {
        operation.security = Some(Vec::new());
        return;
    }
    let scopes: &[&str] = match need {
        Need::Known => &[],
        _ => &[need.scope()],
    };
    operation.security = Some(vec![SecurityRequirement::new(
        SCHEME,
        scopes.iter().copied(),
    )]);
    for (status, description) in [
        ("401", "The token is missing, or not valid"),
        (
            "403",
            "The token does not have the scope, or a page of another origin asks",
        ),
        ("429", "Too many tokens from this address were not valid"),
    ] {
        let problem = Ref::from_schema_name("Problem");
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", Content::new(Some(problem)))
            .build();
        operation
            .responses
            .responses
            .insert(status.to_owned(), response.into());
    }
}
