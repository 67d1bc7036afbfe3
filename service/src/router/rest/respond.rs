//! What every answer gets on its way out: a request id, an ETag, gzip. What takes long is left to the workers.

use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use sluicegate_transport::http::Held;
use warp::{
    Reply as _,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    reply::Response,
};

use super::{
    answer::{Answer, Body},
    compress::{COMPRESS_FROM_BYTES, gzip, takes_gzip},
    entity_tag,
    problem::Problem,
    static_files::StaticFile,
    workers::{Lost, Workers},
};
use crate::router::request_id::REQUEST_ID;

/// Makes the response.
pub(super) async fn respond(
    answer: Result<Answer, Problem>,
    method: &Method,
    asked: &HeaderMap,
    request_id: &str,
    workers: &Arc<Workers>,
) -> Response {
    let of_problem = |problem| Answer::of_problem(&problem, request_id);
    let mut answer = answer.unwrap_or_else(of_problem);
    let wish = Wish {
        compressed: takes_gzip(asked),
        tagged: answer.cacheable && matches!(*method, Method::GET | Method::HEAD),
        asked: asked.clone(),
    };
    let body = std::mem::replace(&mut answer.body, Body::Whole(Bytes::new()));
    let (mut response, is_known) = match send(body, wish, workers).await {
        Ok(sent) => sent,
        Err(lost) => {
            let problem = Problem::from(lost);
            answer = of_problem(problem.clone());
            let body = problem.document(request_id);
            (warp::http::Response::new(Bytes::from(body).into()), false)
        }
    };
    *response.status_mut() = if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        answer.status
    };
    let headers = response.headers_mut();
    headers.extend(answer.headers);
    if !is_known && answer.status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_TYPE, answer.content_type);
    }
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// How a client wants a body.
struct Wish {
    compressed: bool,
    tagged: bool,
    asked: HeaderMap,
}

/// A body that is ready to be sent.
struct Ready {
    body: Bytes,
    compressed: bool,
    etag: Option<String>,
    /// Whether the client has it already.
    is_known: bool,
}

/// The response with its body, and whether the client has that already.
async fn send(body: Body, wish: Wish, workers: &Arc<Workers>) -> Result<(Response, bool), Lost> {
    Ok(match body {
        Body::Whole(plain) if plain.len() < COMPRESS_FROM_BYTES => ready(plain, &wish).response(),
        Body::Whole(plain) => workers.run(move || ready(plain, &wish)).await?.response(),
        Body::Page(make, mut room) => {
            let ready = workers.run(move || ready(make().into(), &wish)).await?;
            room.shrink_to(ready.body.len());
            let (mut response, is_known) = ready.response();
            response.extensions_mut().insert(Held::new(room));
            (response, is_known)
        }
        Body::Static(file) => of_file(file, &wish).response(),
        Body::Export(export) => {
            let compressed = wish.compressed && !export.is_packed;
            let pieces = (export.make)(compressed, workers.clone());
            let mut response = warp::reply::stream(pieces).into_response();
            if compressed {
                note_gzip(response.headers_mut());
            }
            if let Some(room) = export.room {
                response.extensions_mut().insert(Held::new(room));
            }
            (response, false)
        }
        Body::Events(events) => (warp::reply::stream(events).into_response(), false),
    })
}

fn ready(plain: Bytes, wish: &Wish) -> Ready {
    let etag = wish.tagged.then(|| entity_tag::of(&plain));
    let is_known = etag
        .as_ref()
        .is_some_and(|etag| entity_tag::is_known(&wish.asked, etag));
    let compressed = wish.compressed && !is_known && plain.len() >= COMPRESS_FROM_BYTES;
    let body = match (is_known, compressed) {
        (true, _) => Bytes::new(),
        (false, true) => gzip(&plain, Compression::fast()).into(),
        (false, false) => plain,
    };
    Ready {
        body,
        compressed,
        etag,
        is_known,
    }
}

fn of_file(file: StaticFile, wish: &Wish) -> Ready {
    let is_known = wish.tagged && entity_tag::is_known(&wish.asked, &file.etag);
    let compressed = file.compressed.filter(|_| wish.compressed && !is_known);
    Ready {
        compressed: compressed.is_some(),
        body: match is_known {
            true => Bytes::new(),
            false => compressed.unwrap_or(file.plain),
        },
        etag: wish.tagged.then_some(file.etag),
        is_known,
    }
}

impl Ready {
    fn response(self) -> (Response, bool) {
        let mut response: Response = warp::http::Response::new(self.body.into());
        let headers = response.headers_mut();
        if let Some(etag) = self.etag.and_then(|etag| etag.parse().ok()) {
            headers.insert(header::ETAG, etag);
            let no_cache = HeaderValue::from_static("private, no-cache");
            headers.insert(header::CACHE_CONTROL, no_cache);
        }
        if self.compressed {
            note_gzip(headers);
        }
        (response, self.is_known)
    }
}

fn note_gzip(headers: &mut HeaderMap) {
    let gzip = HeaderValue::from_static("gzip");
    headers.insert(header::CONTENT_ENCODING, gzip);
}
