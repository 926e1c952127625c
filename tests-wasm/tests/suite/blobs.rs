//! Media: streamed in with a limit, kept as Blobs, scaled by the browser.

use std::rc::Rc;

use inglenook::{
    http::Body,
    ports::{BlobError, Blobs, ThumbnailSpec},
    wasm::{Bodies, BrowserBlobs},
};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::{Blob, Request};

use super::{Patched, fresh_store, script};

async fn blobs() -> (BrowserBlobs, Rc<Bodies>) {
    let bodies = Rc::new(Bodies::default());
    (BrowserBlobs::new(fresh_store().await, Rc::clone(&bodies)), bodies)
}

/// A POST of so many bytes, each its own position modulo 251.
fn upload(length: u32) -> Request {
    script(&format!(
        "new Request(self.origin + '/', {{ method: 'POST', body: Uint8Array.from({{ length: {length} }}, (_, index) => index % 251) }})"
    ))
    .unchecked_into()
}

/// A request with a body that comes in pieces and may break off. Not every browser can make one, so it is a likeness.
fn stream(pieces: u32, then: &str) -> Request {
    let source = format!(
        "{{ let sent = 0; self.cancelled = false; ({{ body: new ReadableStream({{
            pull(controller) {{ if (sent++ < {pieces}) controller.enqueue(new Uint8Array(65536)); else controller.{then}; }},
            cancel() {{ self.cancelled = true; }},
        }}) }}) }}"
    );
    script(&source).unchecked_into()
}

async fn bytes(blob: &Blob) -> Vec<u8> {
    Uint8Array::new(&JsFuture::from(blob.array_buffer()).await.expect("reads")).to_vec()
}

#[wasm_bindgen_test]
async fn an_upload_is_kept_byte_for_byte_and_read_in_part() {
    let (blobs, bodies) = blobs().await;
    let body = Body::Incoming(bodies.keep(upload(300_000)));
    assert_eq!(blobs.put("media", body, "image/png", 300_000).await, Ok(300_000));
    assert_eq!(blobs.size("media").await, Ok(Some(300_000)));
    let blob = blobs.find("media").await.expect("reads").expect("is there");
    assert_eq!(blob.type_(), "image/png");
    let part = blob.slice_with_f64_and_f64(1_000.0, 1_010.0).expect("slices");
    assert_eq!(bytes(&part).await, (1_000..1_010).map(|index| (index % 251) as u8).collect::<Vec<_>>());
    assert_eq!(bytes(&blob).await.len(), 300_000);
}

#[wasm_bindgen_test]
async fn an_upload_in_many_pieces_is_kept_whole() {
    let (blobs, bodies) = blobs().await;
    let body = Body::Incoming(bodies.keep(stream(160, "close()")));
    assert_eq!(blobs.put("media", body, "video/mp4", 20 << 20).await, Ok(10 << 20));
    assert_eq!(blobs.size("media").await, Ok(Some(10 << 20)));
}

#[wasm_bindgen_test]
async fn an_upload_past_its_limit_is_cut_off_and_leaves_nothing() {
    let (blobs, bodies) = blobs().await;
    let body = Body::Incoming(bodies.keep(stream(u32::MAX, "close()")));
    assert_eq!(blobs.put("media", body, "video/mp4", 1 << 20).await, Err(BlobError::TooLarge(1 << 20)));
    assert_eq!(script("self.cancelled"), true, "the rest is still read");
    assert_eq!(blobs.size("media").await, Ok(None));
    let body = Body::Incoming(bodies.keep(upload(1_001)));
    assert_eq!(blobs.put("media", body, "video/mp4", 1_000).await, Err(BlobError::TooLarge(1_000)));
    assert_eq!(blobs.put("media", Body::Bytes(vec![0; 11]), "video/mp4", 10).await, Err(BlobError::TooLarge(10)));
    assert_eq!(blobs.size("media").await, Ok(None));
}

#[wasm_bindgen_test]
async fn an_abandoned_upload_leaves_nothing() {
    let (blobs, bodies) = blobs().await;
    let body = Body::Incoming(bodies.keep(stream(3, "error(new TypeError('gone'))")));
    assert_eq!(blobs.put("media", body, "video/mp4", 1 << 20).await, Err(BlobError::Failed("gone".into())));
    assert_eq!(blobs.size("media").await, Ok(None));
}

#[wasm_bindgen_test]
async fn an_empty_upload_is_an_empty_blob() {
    let (blobs, bodies) = blobs().await;
    let body = Body::Incoming(bodies.keep(upload(0)));
    assert_eq!(blobs.put("empty", body, "text/plain", 10).await, Ok(0));
    assert_eq!(blobs.put("none", Body::Empty, "text/plain", 10).await, Ok(0));
    assert_eq!(blobs.size("empty").await, Ok(Some(0)));
}

#[wasm_bindgen_test]
async fn a_body_is_taken_once() {
    let (blobs, bodies) = blobs().await;
    let number = bodies.keep(upload(5));
    assert_eq!(blobs.put("one", Body::Incoming(number), "text/plain", 10).await, Ok(5));
    assert_eq!(blobs.put("two", Body::Incoming(number), "text/plain", 10).await, Err(BlobError::Missing));
}

#[wasm_bindgen_test]
async fn a_removed_blob_is_gone() {
    let (blobs, _) = blobs().await;
    assert_eq!(blobs.put("media", Body::Bytes(vec![1, 2, 3]), "text/plain", 10).await, Ok(3));
    assert_eq!(blobs.remove("media").await, Ok(()));
    assert_eq!(blobs.remove("media").await, Ok(()));
    assert_eq!(blobs.size("media").await, Ok(None));
}

/// A picture of that size: red above, blue below.
async fn picture(width: u32, height: u32, content_type: &str) -> Vec<u8> {
    let source = format!(
        "{{ const canvas = new OffscreenCanvas({width}, {height}); const context = canvas.getContext('2d');
            context.fillStyle = 'red'; context.fillRect(0, 0, {width}, {height} / 2);
            context.fillStyle = 'blue'; context.fillRect(0, {height} / 2, {width}, {height});
            canvas.convertToBlob({{ type: '{content_type}' }}) }}"
    );
    let blob: Blob = JsFuture::from(script(&source).unchecked_into::<Promise>()).await.expect("draws").unchecked_into();
    bytes(&blob).await
}

/// Width and height as a decoder sees them.
async fn dimensions(blob: &Blob) -> (f64, f64) {
    js_sys::Reflect::set(&js_sys::global(), &"measured".into(), blob).expect("sets");
    let measured = script("createImageBitmap(self.measured).then((image) => [image.width, image.height])");
    let sides: js_sys::Array = JsFuture::from(measured.unchecked_into::<Promise>()).await.expect("decodes").unchecked_into();
    (sides.get(0).as_f64().expect("a number"), sides.get(1).as_f64().expect("a number"))
}

async fn thumbnail(width: u32, height: u32, spec: ThumbnailSpec, content_type: &str) -> (f64, f64) {
    let (blobs, _) = blobs().await;
    let image = picture(width, height, content_type).await;
    blobs.put("image", Body::Bytes(image), content_type, 1 << 20).await.expect("stores");
    let stored = blobs.make_thumbnail("image", "small", spec).await.expect("scales");
    let small = blobs.find("small").await.expect("reads").expect("is there");
    assert_eq!((stored.size, stored.content_type.as_str()), (small.size() as u64, content_type));
    dimensions(&small).await
}

#[wasm_bindgen_test]
async fn thumbnails_fit_or_fill_and_are_never_larger() {
    let spec = |width, height, crop| ThumbnailSpec { width, height, crop };
    assert_eq!(thumbnail(400, 200, spec(100, 100, false), "image/png").await, (100.0, 50.0));
    assert_eq!(thumbnail(400, 200, spec(100, 100, true), "image/jpeg").await, (100.0, 100.0));
    assert_eq!(thumbnail(40, 20, spec(100, 100, false), "image/png").await, (40.0, 20.0));
    assert_eq!(thumbnail(40, 20, spec(100, 10, true), "image/png").await, (40.0, 10.0));
}

#[wasm_bindgen_test]
async fn what_is_no_image_has_no_thumbnail() {
    let (blobs, _) = blobs().await;
    blobs.put("text", Body::Bytes(b"not an image".to_vec()), "image/png", 100).await.expect("stores");
    let spec = ThumbnailSpec { width: 10, height: 10, crop: false };
    assert_eq!(blobs.make_thumbnail("text", "small", spec).await, Err(BlobError::NotAnImage));
    assert_eq!(blobs.make_thumbnail("missing", "small", spec).await, Err(BlobError::Missing));
    assert_eq!(blobs.size("small").await, Ok(None));
}

/// As in a private window of WebKit.
#[wasm_bindgen_test]
async fn where_the_browser_keeps_no_blobs_their_bytes_are_kept() {
    let (blobs, bodies) = blobs().await;
    let _patched = Patched::new(
        "IDBObjectStore.prototype.put",
        "function (value, key) { if (value instanceof Blob) throw new DOMException('no', 'DataCloneError'); return original.call(this, value, key); }",
    );
    let body = Body::Incoming(bodies.keep(upload(1_000)));
    assert_eq!(blobs.put("media", body, "image/png", 1_000).await, Ok(1_000));
    let blob = blobs.find("media").await.expect("reads").expect("is there");
    assert_eq!((blob.type_().as_str(), bytes(&blob).await.len()), ("image/png", 1_000));
}
