//! What never changes: the OpenAPI document and the pages of the Swagger UI. Compressed once, when first asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::Compression;
use tokio::sync::OnceCell;
use warp::http::HeaderValue;

use super::{
    compress::{COMPRESS_FROM_BYTES, gzip},
    entity_tag,
    workers::{Lost, Workers},
};

/// A file in both forms; a clone shares them.
#[derive(Clone, Debug)]
pub(super) struct StaticFile {
    pub(super) content_type: HeaderValue,
    pub(super) etag: String,
    pub(super) plain: Bytes,
    /// None for what does not gain by it.
    pub(super) compressed: Option<Bytes>,
}

impl StaticFile {
    fn prepare(content_type: HeaderValue, plain: Bytes) -> Self {
        let compressed = (plain.len() >= COMPRESS_FROM_BYTES)
            .then(|| Bytes::from(gzip(&plain, Compression::best())))
            .filter(|compressed| compressed.len() < plain.len());
        Self {
            content_type,
            etag: entity_tag::of(&plain),
            plain,
            compressed,
        }
    }
}

/// The files that were asked for.
#[derive(Default)]
pub(super) struct StaticFiles(Mutex<HashMap<String, Arc<OnceCell<StaticFile>>>>);

impl StaticFiles {
    /// A file that there is, by its name.
    pub(super) async fn get(
        &self,
        name: &str,
        content_type: HeaderValue,
        plain: Bytes,
        workers: &Workers,
    ) -> Result<StaticFile, Lost> {
        let cell = {
            let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            files.entry(name.to_owned()).or_default().clone()
        };
        let prepare = || workers.run(move || StaticFile::prepare(content_type, plain));
        cell.get_or_try_init(prepare).await.cloned()
    }
}
