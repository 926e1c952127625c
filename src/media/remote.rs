//! Files of other servers, fetched when they are first asked for and kept: they never change under their ID.

use ruma::ServerName;

use super::{Content, read};
use crate::{
    error::Error,
    federation::{self, for_client},
    server::Server,
    storage::{Batch, Key, Table},
};

/// <https://spec.matrix.org/v1.19/client-server-api/#security-considerations-5>
fn is_media_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Another server's file: the name under which it is kept here, and what it is. `fetches` says whether to ask for it if it is
/// not here.
pub(crate) async fn remote(
    server: &Server,
    origin: &ServerName,
    id: &str,
    timeout: Option<u64>,
    fetches: bool,
) -> Result<(String, Content), Error> {
    let blob = blob_name(origin, id)?;
    let key = key(origin, id);
    let _fetching = server.media.fetching.lock(&blob).await;
    if let Some(content) = read(server, key.clone()).await? {
        return Ok((blob, content));
    }
    if !fetches {
        return Err(Error::not_found("This server has no such file, and was not to ask for it."));
    }
    let file = federation::download(server, origin, id, timeout).await.map_err(for_client)?;
    let name = file.disposition.as_deref().and_then(file_name);
    let content_type = file.content_type.clone();
    let size = file.store(server, &blob).await.map_err(for_client)?;
    let content = Content { content_type, size, name };
    let mut batch = Batch::relaxed();
    batch.put_json(key, &content);
    server.ports.store.commit(batch).await?;
    Ok((blob, content))
}

/// The same, only if it is kept here.
pub(super) async fn kept(server: &Server, origin: &ServerName, id: &str) -> Result<Option<Content>, Error> {
    read(server, key(origin, id)).await
}

/// The name under which another server's file is kept. No file of this server's own has such a name.
pub(super) fn blob_name(origin: &ServerName, id: &str) -> Result<String, Error> {
    if is_media_id(id) { Ok(format!("@{origin}/{id}")) } else { Err(Error::not_found("There is no such file.")) }
}

fn key(origin: &ServerName, id: &str) -> Key {
    Key::new(Table::Media).text("@").text(origin.as_str()).text(id)
}

/// The file's name in a `Content-Disposition`, in either form.
///
/// <https://www.rfc-editor.org/rfc/rfc6266#section-4.1>
fn file_name(disposition: &str) -> Option<String> {
    let parameters = || disposition.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let of = |wanted: &str| parameters().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim());
    if let Some(encoded) = of("filename*").and_then(|value| value.splitn(3, '\'').nth(2)) {
        return percent_encoding::percent_decode_str(encoded).decode_utf8().ok().map(Into::into);
    }
    of("filename").map(|name| name.trim_matches('"').to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_forms() {
        for (disposition, name) in [
            ("inline; filename=a.png", Some("a.png")),
            ("attachment; filename=\"a b.png\"", Some("a b.png")),
            ("inline; filename*=utf-8''%C3%A4.png", Some("ä.png")),
            ("inline", None),
        ] {
            assert_eq!(file_name(disposition).as_deref(), name, "{disposition}");
        }
    }
}
