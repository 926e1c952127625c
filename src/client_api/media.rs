//! The content repository: uploading, downloading, thumbnails.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

mod serve;

use ruma::{OwnedServerName, ServerName};
use serde_json::json;

use self::serve::{Served, serve};
use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    media::{self, Content, MAX_UPLOAD, NewContent, UNKNOWN_TYPE, disposition},
};

/// The paths of downloads, and those of old clients, which send no access token.
pub(super) const ROUTES: &[Route] = &[
    route(Method::Post, "/_matrix/media/{version}/upload", Access::Token, handler!(upload)),
    route(Method::Post, "/_matrix/media/{version}/create", Access::Token, handler!(create)),
    route(Method::Put, "/_matrix/media/{version}/upload/{serverName}/{mediaId}", Access::Token, handler!(upload_reserved)),
    route(Method::Get, "/_matrix/client/{version}/media/config", Access::Token, handler!(config)),
    route(Method::Get, "/_matrix/client/{version}/media/preview_url", Access::Token, handler!(preview_url)),
    route(Method::Get, "/_matrix/client/{version}/media/download/{serverName}/{mediaId}", Access::Token, handler!(download)),
    route(Method::Get, "/_matrix/client/{version}/media/download/{serverName}/{mediaId}/{fileName}", Access::Token, handler!(download)),
    route(Method::Get, "/_matrix/client/{version}/media/thumbnail/{serverName}/{mediaId}", Access::Token, handler!(thumbnail)),
    route(Method::Get, "/_matrix/media/{version}/config", Access::Token, handler!(config)),
    route(Method::Get, "/_matrix/media/{version}/preview_url", Access::Token, handler!(preview_url)),
    route(Method::Get, "/_matrix/media/{version}/download/{serverName}/{mediaId}", Access::Public, handler!(download)),
    route(Method::Get, "/_matrix/media/{version}/download/{serverName}/{mediaId}/{fileName}", Access::Public, handler!(download)),
    route(Method::Get, "/_matrix/media/{version}/thumbnail/{serverName}/{mediaId}", Access::Public, handler!(thumbnail)),
];

const fn route(method: Method, path: &'static str, access: Access, handler: super::Handler) -> Route {
    Route { method, path, access, handler }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
async fn upload(mut call: Call) -> Result<Response, Error> {
    let new = call.new_content()?;
    let id = media::upload(&call.server, call.user()?, new).await?;
    Ok(Response::ok(&json!({ "content_uri": call.content_uri(&id) })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
async fn create(call: Call) -> Result<Response, Error> {
    let reserved = media::reserve(&call.server, call.user()?).await?;
    Ok(Response::ok(&json!({ "content_uri": call.content_uri(&reserved.id), "unused_expires_at": reserved.expires })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>
async fn upload_reserved(mut call: Call) -> Result<Response, Error> {
    let new = call.new_content()?;
    if call.param(0) != call.server.name() {
        return Err(Error::not_found("This server gives out no IDs of other servers."));
    }
    media::upload_reserved(&call.server, call.user()?, call.param(1), new).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig>
async fn config(_: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "m.upload.size": MAX_UPLOAD })))
}

/// A browser lets no page read others that do not allow it, so there is nothing to make a preview of.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url>
async fn preview_url(call: Call) -> Result<Response, Error> {
    call.query("url").ok_or_else(|| Error::missing_param("url must be the page's address."))?;
    call.query_number("ts")?;
    Err(Error::refused(404, "M_UNRECOGNIZED", "This server makes no previews."))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>
async fn download(call: Call) -> Result<Response, Error> {
    let (id, content) = call.uploaded().await?;
    let asked = Some(call.param(2)).filter(|name| !name.is_empty());
    let disposition = disposition::of(&content.content_type, asked.or(content.name.as_deref()));
    let served = Served { etag: &id, blob: &id, size: content.size, content_type: &content.content_type, disposition: &disposition };
    Ok(serve(&call.request, served))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>
async fn thumbnail(call: Call) -> Result<Response, Error> {
    let (width, height) = (call.pixels("width")?, call.pixels("height")?);
    let method = match call.query("method") {
        Some("crop") => media::Method::Crop,
        None | Some("scale") => media::Method::Scale,
        Some(_) => return Err(Error::invalid_param("method must be crop or scale.")),
    };
    call.query_bool("animated")?;
    let made = call.thumbnail((width, height), method).await?;
    let disposition = disposition::of(&made.content_type, Some(disposition::thumbnail_name(&made.content_type)));
    let served = Served { etag: &made.id, blob: &made.id, size: made.size, content_type: &made.content_type, disposition: &disposition };
    Ok(serve(&call.request, served))
}

impl Call {
    fn content_uri(&self, id: &str) -> String {
        format!("mxc://{}/{id}", self.server.name())
    }

    /// The file that this request uploads.
    fn new_content(&mut self) -> Result<NewContent, Error> {
        let announced = self.request.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX_UPLOAD) {
            return Err(crate::ports::BlobError::TooLarge(MAX_UPLOAD).into());
        }
        let content_type = self.request.header("content-type").map(str::trim).filter(|kind| !kind.is_empty());
        let content_type = content_type.unwrap_or(UNKNOWN_TYPE).to_owned();
        let name = self.query("filename").filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(NewContent { content_type, name, body: std::mem::take(&mut self.request.body) })
    }

    /// The medium that the path names, once it is uploaded.
    async fn uploaded(&self) -> Result<(String, Content), Error> {
        let (origin, id, (timeout, fetches)) = (self.media_origin()?, self.param(1), self.patience()?);
        match origin {
            Some(origin) => media::remote(&self.server, &origin, id, timeout, fetches).await,
            None => Ok((id.to_owned(), media::uploaded(&self.server, id, timeout).await?)),
        }
    }

    /// A thumbnail of the medium that the path names.
    async fn thumbnail(&self, frame: (u32, u32), method: media::Method) -> Result<media::Thumbnail, Error> {
        let (origin, id, (timeout, fetches)) = (self.media_origin()?, self.param(1), self.patience()?);
        match origin {
            Some(origin) => media::remote_thumbnail(&self.server, (&origin, id), frame, method, timeout, fetches).await,
            None => {
                let content = media::uploaded(&self.server, id, timeout).await?;
                media::thumbnail(&self.server, id, &content, frame, method).await
            }
        }
    }

    /// The other server whose medium the path names; `None` for this server's own.
    fn media_origin(&self) -> Result<Option<OwnedServerName>, Error> {
        if self.param(0) == self.server.name() {
            return Ok(None);
        }
        ServerName::parse(self.param(0)).map(Some).map_err(|_| Error::not_found("There is no such server."))
    }

    /// For how long the client waits for what is not uploaded yet, and whether to ask another server at all.
    fn patience(&self) -> Result<(Option<u64>, bool), Error> {
        // This server never redirects; the parameter must still be one.
        self.query_bool("allow_redirect")?;
        Ok((self.query_number("timeout_ms")?, self.query_bool("allow_remote")?.unwrap_or(true)))
    }

    /// A length in pixels.
    fn pixels(&self, name: &str) -> Result<u32, Error> {
        let text = self.query(name).ok_or_else(|| Error::missing_param(format!("{name} must be given in pixels.")))?;
        let pixels = text.parse().ok().filter(|pixels| *pixels > 0);
        pixels.ok_or_else(|| Error::invalid_param(format!("{name} must be a number greater than zero.")))
    }
}
