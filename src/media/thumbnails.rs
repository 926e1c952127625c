//! Thumbnails: of a few sizes, made when one is asked for the first time, and kept.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>

use ruma::ServerName;
use serde::{Deserialize, Serialize};

use super::{
    Content, disposition, media_key, read,
    remote::{blob_name, kept, remote},
};
use crate::{
    error::Error,
    federation::{self, Frame, for_client},
    federation_client::PeerError,
    ports::ThumbnailSpec,
    server::Server,
    storage::Batch,
};

/// Larger files are not scaled: decoding them takes memory that a browser may not have.
const MAX_SCALED: u64 = 40 << 20;

/// The frames of thumbnails that are cut, by area. Those that the specification recommends, and more of each kind, so that none
/// is smaller than what was asked for.
const CROPPED: [(u32, u32); 9] =
    [(32, 32), (96, 96), (320, 240), (240, 320), (320, 320), (640, 480), (480, 640), (640, 640), LARGEST_CROPPED];

const LARGEST_CROPPED: (u32, u32) = (800, 800);

/// The frames of thumbnails that are scaled as a whole, by area. Those that the specification recommends; squares, since clients
/// ask for them where they do not know how the image lies; and the double of the largest, for screens with small pixels.
const SCALED: [(u32, u32); 8] = [(320, 240), (320, 320), (640, 480), (640, 640), (800, 600), (800, 800), (1_600, 1_200), LARGEST_SCALED];

const LARGEST_SCALED: (u32, u32) = (1_600, 1_600);

/// How a thumbnail is fitted into its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// It fills the frame, and what hangs over is cut.
    Crop,
    /// It is as large as fits into the frame.
    Scale,
}

/// One of the sizes that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
    method: Method,
}

/// A thumbnail as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    /// The blob.
    #[serde(rename = "i")]
    pub(crate) id: String,
    #[serde(rename = "t")]
    pub(crate) content_type: String,
    #[serde(rename = "s")]
    pub(crate) size: u64,
}

impl Size {
    /// The smallest size that is not smaller than what was asked for; `None` where only the original is.
    fn at_least(width: u32, height: u32, method: Method) -> Option<Self> {
        let (width, height) = *frames(method).iter().find(|frame| frame.0 >= width && frame.1 >= height)?;
        Some(Self { width, height, method })
    }

    /// The largest size.
    fn largest(method: Method) -> Self {
        let (width, height) = if method == Method::Crop { LARGEST_CROPPED } else { LARGEST_SCALED };
        Self { width, height, method }
    }

    fn name(self) -> String {
        format!("{}x{}-{}", self.width, self.height, self.method_name())
    }

    fn method_name(self) -> &'static str {
        if self.method == Method::Crop { "crop" } else { "scale" }
    }
}

fn frames(method: Method) -> &'static [(u32, u32)] {
    if method == Method::Crop { &CROPPED } else { &SCALED }
}

/// A medium's thumbnail that is not smaller than what was asked for, or the largest.
pub(crate) async fn thumbnail(
    server: &Server,
    id: &str,
    content: &Content,
    (width, height): (u32, u32),
    method: Method,
) -> Result<Thumbnail, Error> {
    match Size::at_least(width, height, method) {
        Some(size) => scaled(server, id, content, size).await,
        // No thumbnail is as large as asked for, so the image itself has to do.
        None if is_still_image(content) => {
            Ok(Thumbnail { id: id.to_owned(), content_type: content.content_type.clone(), size: content.size })
        }
        None => scaled(server, id, content, Size::largest(method)).await,
    }
}

/// Whether everybody can show it in the place of a thumbnail.
fn is_still_image(content: &Content) -> bool {
    ["image/jpeg", "image/png"].contains(&disposition::essence(&content.content_type).as_str())
}

async fn scaled(server: &Server, id: &str, content: &Content, size: Size) -> Result<Thumbnail, Error> {
    let blob = format!("{id}/{}", size.name());
    let key = media_key(id).text(&size.name());
    let _making = server.media.thumbnails.lock(&blob).await;
    if let Some(made) = read(server, key.clone()).await? {
        return Ok(made);
    }
    if content.size > MAX_SCALED {
        return Err(Error::too_large("This file is too large to be scaled."));
    }
    let spec = ThumbnailSpec { width: size.width, height: size.height, crop: size.method == Method::Crop };
    let stored = server.ports.blobs.make_thumbnail(id, &blob, spec).await?;
    let made = Thumbnail { id: blob, content_type: stored.content_type, size: stored.size };
    let mut batch = Batch::relaxed();
    batch.put_json(key, &made);
    server.ports.store.commit(batch).await?;
    Ok(made)
}

/// A thumbnail of another server's file. It is asked for as such, so that the file itself need not come; where that comes to
/// nothing, it is made of the file.
pub(crate) async fn remote_thumbnail(
    server: &Server,
    (origin, id): (&ServerName, &str),
    frame: (u32, u32),
    method: Method,
    timeout: Option<u64>,
    fetches: bool,
) -> Result<Thumbnail, Error> {
    let size = Size::at_least(frame.0, frame.1, method);
    if let Some(size) = size.filter(|_| fetches)
        && kept(server, origin, id).await?.is_none()
        && let Some(fetched) = fetched(server, origin, id, size, timeout).await?
    {
        return Ok(fetched);
    }
    let (blob, content) = remote(server, origin, id, timeout, fetches).await?;
    thumbnail(server, &blob, &content, frame, method).await
}

/// A thumbnail as the file's server makes it, kept like those that are made here; `None` where it makes none.
async fn fetched(server: &Server, origin: &ServerName, id: &str, size: Size, timeout: Option<u64>) -> Result<Option<Thumbnail>, Error> {
    let of = blob_name(origin, id)?;
    let blob = format!("{of}/{}", size.name());
    let key = media_key(&of).text(&size.name());
    let _making = server.media.thumbnails.lock(&blob).await;
    if let Some(made) = read(server, key.clone()).await? {
        return Ok(Some(made));
    }
    let frame = Frame { width: size.width, height: size.height, method: size.method_name() };
    let file = match federation::thumbnail(server, origin, id, frame, timeout).await {
        Ok(file) => file,
        Err(error) if settles(&error) => return Err(for_client(error)),
        Err(_) => return Ok(None),
    };
    let content_type = file.content_type.clone();
    let stored = file.store(server, &blob).await.map_err(for_client)?;
    let made = Thumbnail { id: blob, content_type, size: stored };
    let mut batch = Batch::relaxed();
    batch.put_json(key, &made);
    server.ports.store.commit(batch).await?;
    Ok(Some(made))
}

/// Whether the file itself would not be had either.
fn settles(error: &Error) -> bool {
    match error.peer() {
        Some(PeerError::Refused { status, code, .. }) => (*status == 404 && code == "M_NOT_FOUND") || *status == 504,
        Some(PeerError::Malformed(_)) => false,
        Some(PeerError::Unreachable(_)) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn none_is_smaller_than_asked_for(width in 1_u32..2_000, height in 1_u32..2_000, crop: bool) {
            let method = if crop { Method::Crop } else { Method::Scale };
            let smallest = frames(method).iter().filter(|(w, h)| *w >= width && *h >= height).map(|(w, h)| w * h).min();
            let size = Size::at_least(width, height, method);
            prop_assert_eq!(size.map(|size| size.width * size.height), smallest);
            prop_assert!(size.is_none_or(|size| size.width >= width && size.height >= height));
        }
    }
}
