//! Scaled copies of images, made by the browser's own decoders and encoders.

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, ImageBitmap, ImageEncodeOptions, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use super::bodies::failed;
use crate::ports::{BlobError, ThumbnailSpec};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = createImageBitmap)]
    fn create_image_bitmap(image: &Blob) -> Result<Promise, JsValue>;
}

/// Where the scaled image lies on a canvas, in pixels.
struct Layout {
    width: f64,
    height: f64,
    scaled_width: f64,
    scaled_height: f64,
}

/// Scales an image as asked.
pub(super) async fn make(image: &Blob, spec: ThumbnailSpec) -> Result<Blob, BlobError> {
    let bitmap = decode(image).await.map_err(|_| BlobError::NotAnImage)?;
    let drawn = draw(&bitmap, &layout(&bitmap, spec)).map_err(failed);
    bitmap.close();
    let options = ImageEncodeOptions::new();
    options.set_type(encoding_for(&image.type_()));
    let encoded = drawn?.convert_to_blob_with_options(&options).map_err(failed)?;
    Ok(JsFuture::from(encoded).await.map_err(failed)?.unchecked_into())
}

async fn decode(image: &Blob) -> Result<ImageBitmap, JsValue> {
    Ok(JsFuture::from(create_image_bitmap(image)?).await?.unchecked_into())
}

/// Photographs stay JPEG; everything else may be transparent.
fn encoding_for(content_type: &str) -> &'static str {
    if content_type == "image/jpeg" { "image/jpeg" } else { "image/png" }
}

/// Never larger than the original: <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>
fn layout(bitmap: &ImageBitmap, spec: ThumbnailSpec) -> Layout {
    let (width, height) = (f64::from(bitmap.width()), f64::from(bitmap.height()));
    let (frame_width, frame_height) = (f64::from(spec.width.max(1)), f64::from(spec.height.max(1)));
    let (across, down) = (frame_width / width, frame_height / height);
    let scale = if spec.crop { across.max(down) } else { across.min(down) }.min(1.0);
    let (scaled_width, scaled_height) = ((width * scale).round().max(1.0), (height * scale).round().max(1.0));
    let cut = |scaled: f64, frame: f64| if spec.crop { scaled.min(frame) } else { scaled };
    Layout { width: cut(scaled_width, frame_width), height: cut(scaled_height, frame_height), scaled_width, scaled_height }
}

fn draw(bitmap: &ImageBitmap, layout: &Layout) -> Result<OffscreenCanvas, JsValue> {
    let canvas = OffscreenCanvas::new(layout.width as u32, layout.height as u32)?;
    let context = canvas.get_context("2d")?.ok_or(JsValue::NULL)?.unchecked_into::<OffscreenCanvasRenderingContext2d>();
    let (left, top) = ((layout.width - layout.scaled_width) / 2.0, (layout.height - layout.scaled_height) / 2.0);
    context.draw_image_with_image_bitmap_and_dw_and_dh(bitmap, left, top, layout.scaled_width, layout.scaled_height)?;
    Ok(canvas)
}
