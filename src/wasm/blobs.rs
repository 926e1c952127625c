//! Media, kept as the browser's own Blobs beside the tables: they never pass through the wasm's memory.

use std::rc::Rc;

use futures_util::FutureExt;
use indexed_db_futures::{
    Build, BuildPrimitive,
    error::Error,
    prelude::QuerySource,
    transaction::{Transaction, TransactionDurability, TransactionMode, TransactionOptions},
};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::{
    bodies::{self, Bodies},
    indexed_db::{BLOBS, Completion, IndexedDbStore, failed},
    kept, thumbnail,
};
use crate::{
    http::Body,
    ports::{Answer, BlobError, Blobs, StoreError, StoredBlob, ThumbnailSpec},
};

/// Blobs in the database of a store.
pub struct BrowserBlobs {
    store: Rc<IndexedDbStore>,
    bodies: Rc<Bodies>,
}

impl BrowserBlobs {
    /// The blobs beside the store's tables; uploads come from `bodies`.
    pub fn new(store: Rc<IndexedDbStore>, bodies: Rc<Bodies>) -> Self {
        Self { store, bodies }
    }

    /// The blob itself, for the answer to a download.
    pub async fn find(&self, id: &str) -> Result<Option<Blob>, BlobError> {
        let transaction = self.store.database().transaction(BLOBS).build().map_err(not_stored)?;
        let blobs = transaction.object_store(BLOBS).map_err(not_stored)?;
        let found = blobs.get::<JsValue, _, _>(id.to_owned()).primitive().map_err(not_stored)?.await.map_err(not_stored)?;
        Ok(found.and_then(kept::restored))
    }

    async fn incoming(&self, body: Body, content_type: &str, limit: u64) -> Result<Blob, BlobError> {
        match body {
            Body::Incoming(number) => {
                let request = self.bodies.take(number).ok_or(BlobError::Missing)?;
                bodies::read(&request, content_type, limit).await
            }
            Body::Bytes(bytes) if bytes.len() as u64 > limit => Err(BlobError::TooLarge(limit)),
            Body::Bytes(bytes) => bodies::of_bytes(&bytes, content_type),
            Body::Empty => bodies::of_bytes(&[], content_type),
            Body::Coming(coming) => bodies::read_pieces(coming.take().ok_or(BlobError::Missing)?, content_type, limit).await,
            Body::Stored { .. } | Body::Parts(_) => Err(BlobError::Failed("a request has no stored body".into())),
        }
    }

    async fn store(&self, id: &str, blob: &Blob) -> Result<(), BlobError> {
        match self.write(id, blob).await {
            Err(BlobError::Failed(_)) => self.write(id, &kept::taken_apart(blob).await?).await,
            written => written,
        }
    }

    async fn write(&self, id: &str, value: &JsValue) -> Result<(), BlobError> {
        let transaction = self.open()?;
        let completion = Completion::of(&transaction);
        let blobs = transaction.object_store(BLOBS).map_err(not_stored)?;
        drop(blobs.put(value).with_key(id.to_owned()).without_key_type().primitive().map_err(not_stored)?);
        completion.await.map_err(of_store)
    }

    async fn delete(&self, id: &str) -> Result<(), BlobError> {
        let transaction = self.open()?;
        let completion = Completion::of(&transaction);
        let blobs = transaction.object_store(BLOBS).map_err(not_stored)?;
        drop(blobs.delete(id.to_owned()).primitive().map_err(not_stored)?);
        completion.await.map_err(of_store)
    }

    fn open(&self) -> Result<Transaction<'_>, BlobError> {
        let options = TransactionOptions::new().with_durability(TransactionDurability::Strict);
        self.store.database().transaction(BLOBS).with_mode(TransactionMode::Readwrite).with_options(options).build().map_err(not_stored)
    }
}

fn not_stored(error: Error) -> BlobError {
    of_store(failed(error))
}

fn of_store(error: StoreError) -> BlobError {
    match error {
        StoreError::QuotaExceeded => BlobError::QuotaExceeded,
        other => BlobError::Failed(other.to_string()),
    }
}

impl Blobs for BrowserBlobs {
    fn put<'a>(&'a self, id: &'a str, body: Body, content_type: &'a str, limit: u64) -> Answer<'a, u64, BlobError> {
        async move {
            let blob = self.incoming(body, content_type, limit).await?;
            self.store(id, &blob).await?;
            Ok(blob.size() as u64)
        }
        .boxed_local()
    }

    fn size<'a>(&'a self, id: &'a str) -> Answer<'a, Option<u64>, BlobError> {
        async move { Ok(self.find(id).await?.map(|blob| blob.size() as u64)) }.boxed_local()
    }

    fn read<'a>(&'a self, id: &'a str, start: u64, end: u64) -> Answer<'a, Vec<u8>, BlobError> {
        async move {
            let blob = self.find(id).await?.ok_or(BlobError::Missing)?;
            let part = blob.slice_with_f64_and_f64(start as f64, end as f64).map_err(bodies::failed)?;
            let buffer = JsFuture::from(part.array_buffer()).await.map_err(bodies::failed)?;
            Ok(Uint8Array::new(&buffer).to_vec())
        }
        .boxed_local()
    }

    fn make_thumbnail<'a>(&'a self, id: &'a str, thumbnail: &'a str, spec: ThumbnailSpec) -> Answer<'a, StoredBlob, BlobError> {
        async move {
            let image = self.find(id).await?.ok_or(BlobError::Missing)?;
            let scaled = thumbnail::make(&image, spec).await?;
            self.store(thumbnail, &scaled).await?;
            Ok(StoredBlob { size: scaled.size() as u64, content_type: scaled.type_() })
        }
        .boxed_local()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, (), BlobError> {
        self.delete(id).boxed_local()
    }
}
