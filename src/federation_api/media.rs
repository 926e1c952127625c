//! Media for other servers: a description and the file, as the two parts of one body.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#content-repository>

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Body, Method, Response},
    media::{self, UNKNOWN_TYPE, disposition},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/federation/v1/media/download/{mediaId}",
        access: Access::Signed,
        handler: handler!(download),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/federation/v1/media/thumbnail/{mediaId}",
        access: Access::Signed,
        handler: handler!(thumbnail),
    },
];

/// A file and what to say of it.
struct File<'a> {
    blob: String,
    size: u64,
    content_type: &'a str,
    disposition: String,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>
async fn download(call: Call) -> Result<Response, Error> {
    let id = call.param(0);
    let content = media::uploaded(&call.server, id, call.query_number("timeout_ms")?).await?;
    let disposition = disposition::of(&content.content_type, content.name.as_deref());
    let file = File { blob: id.to_owned(), size: content.size, content_type: &content.content_type, disposition };
    Ok(multipart(&call.server, file))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid>
async fn thumbnail(call: Call) -> Result<Response, Error> {
    let frame = (pixels(&call, "width")?, pixels(&call, "height")?);
    let method = match call.query("method") {
        Some("crop") => media::Method::Crop,
        None | Some("scale") => media::Method::Scale,
        Some(_) => return Err(Error::invalid_param("method must be crop or scale.")),
    };
    let id = call.param(0);
    let content = media::uploaded(&call.server, id, call.query_number("timeout_ms")?).await?;
    let made = media::thumbnail(&call.server, id, &content, frame, method).await?;
    let disposition = disposition::of(&made.content_type, Some(disposition::thumbnail_name(&made.content_type)));
    let file = File { blob: made.id, size: made.size, content_type: &made.content_type, disposition };
    Ok(multipart(&call.server, file))
}

fn pixels(call: &Call, name: &str) -> Result<u32, Error> {
    let pixels = call.query_number(name)?.ok_or_else(|| Error::missing_param(format!("{name} must be given in pixels.")))?;
    let pixels = u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    pixels.ok_or_else(|| Error::invalid_param(format!("{name} must be a number greater than zero.")))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid_response-200_headers>
fn multipart(server: &Server, file: File<'_>) -> Response {
    // Random, so that no file can hold it by anybody's intention.
    let boundary = format!("{:032x}", u128::from_be_bytes(server.random()));
    // Whoever uploaded it has named the type: it must not end its line.
    let content_type = if file.content_type.chars().any(char::is_control) { UNKNOWN_TYPE } else { file.content_type };
    let before = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n\
         --{boundary}\r\nContent-Type: {content_type}\r\nContent-Disposition: {}\r\n\r\n",
        file.disposition
    );
    let after = format!("\r\n--{boundary}--\r\n");
    let stored = Body::Stored { id: file.blob, start: 0, end: file.size };
    let body = Body::Parts(vec![Body::Bytes(before.into_bytes()), stored, Body::Bytes(after.into_bytes())]);
    Response { body, ..Response::bare(200) }.with("content-type", &format!("multipart/mixed; boundary={boundary}"))
}
