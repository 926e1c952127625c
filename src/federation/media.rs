//! Fetching a file from the server that has it.

use ruma::ServerName;

use super::{
    candidates::is_unrecognized,
    malformed,
    target::{encoded, path, with_query},
};
use crate::{
    error::Error,
    federation_client,
    http::{Method, Response},
    media::UNKNOWN_TYPE,
    ports::{Reply, TransportError},
    server::Server,
};

/// A file as another server has sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    pub(crate) content_type: String,
    /// What the other server says how to show the file.
    pub(crate) disposition: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// How a thumbnail is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) method: &'static str,
}

/// Asks a server for one of its files, and for how long to wait if it is not uploaded yet.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>
pub(crate) async fn download(server: &Server, peer: &ServerName, id: &str, timeout: Option<u64>) -> Result<RemoteFile, Error> {
    fetch(server, peer, "download", id, waiting(timeout)).await
}

/// Asks a server for a thumbnail of one of its files.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid>
pub(crate) async fn thumbnail(
    server: &Server,
    peer: &ServerName,
    id: &str,
    frame: Frame,
    timeout: Option<u64>,
) -> Result<RemoteFile, Error> {
    let mut query = waiting(timeout);
    query.extend([("width", frame.width.to_string()), ("height", frame.height.to_string()), ("method", frame.method.into())]);
    query.push(("animated", "false".into()));
    fetch(server, peer, "thumbnail", id, query).await
}

type Query = Vec<(&'static str, String)>;

fn waiting(timeout: Option<u64>) -> Query {
    timeout.map(|timeout| ("timeout_ms", timeout.to_string())).into_iter().collect()
}

/// Servers that do not know the endpoint are asked by that of clients of old.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#content-repository>
async fn fetch(server: &Server, peer: &ServerName, what: &str, id: &str, query: Query) -> Result<RemoteFile, Error> {
    let target = path(&format!("v1/media/{what}"), &[id]);
    match ask(server, peer, &with(&target, &query)).await.and_then(of_two_parts) {
        Err(error) if is_unrecognized(&error) => {
            let target = encoded(&format!("/_matrix/media/v3/{what}"), &[peer.as_str(), id]);
            let query: Query = query.into_iter().chain([("allow_remote", "false".into())]).collect();
            ask(server, peer, &with(&target, &query)).await.and_then(whole)
        }
        fetched => fetched,
    }
}

fn with(target: &str, query: &Query) -> String {
    if query.is_empty() { target.to_owned() } else { with_query(target, query.iter().map(|(name, value)| (*name, value.as_str()))) }
}

async fn ask(server: &Server, peer: &ServerName, target: &str) -> Result<Response, Error> {
    let request = server.federation_client.signed(peer, Method::Get, target, None)?;
    match server.federation_client.send(peer, request).await? {
        Reply::Answered(response) => Ok(response),
        Reply::Kept { .. } => Err(TransportError::Unreachable(peer.to_string(), "it is away".into()).into()),
    }
}

fn of_two_parts(response: Response) -> Result<RemoteFile, Error> {
    let boundary = response.headers.get("content-type").and_then(|kind| boundary(kind));
    let body = federation_client::read(response)?;
    let boundary = boundary.ok_or_else(|| malformed("the file does not come as multipart/mixed"))?;
    file(&body, &boundary).ok_or_else(|| malformed("the file does not come as one of two parts"))
}

/// The file as clients of old are given it.
fn whole(response: Response) -> Result<RemoteFile, Error> {
    let header = |name: &str| response.headers.get(name).cloned();
    let (content_type, disposition) = (header("content-type"), header("content-disposition"));
    let bytes = federation_client::read(response)?;
    Ok(RemoteFile { content_type: content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()), disposition, bytes })
}

/// <https://www.rfc-editor.org/rfc/rfc2046#section-5.1>
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    let is_multipart = kind.trim().eq_ignore_ascii_case("multipart/mixed");
    let named = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    Some(value.trim().trim_matches('"').to_owned()).filter(|boundary| is_multipart && !boundary.is_empty())
}

/// The second part of a body: the first one describes it, and says nothing yet.
fn file(body: &[u8], boundary: &str) -> Option<RemoteFile> {
    let delimiter = format!("--{boundary}");
    let (_, rest) = split(body, delimiter.as_bytes())?;
    let (_, rest) = split(rest, format!("\r\n{delimiter}").as_bytes())?;
    let (headers, rest) = split(rest, b"\r\n\r\n")?;
    let (bytes, _) = split(rest, format!("\r\n{delimiter}").as_bytes())?;
    let headers = std::str::from_utf8(headers).ok()?;
    let header = |wanted: &str| {
        let (_, value) =
            headers.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
        Some(value.trim().to_owned())
    };
    // A file that is elsewhere cannot be fetched from there: nobody has vouched for that place.
    if header("location").is_some() {
        return None;
    }
    let content_type = header("content-type").unwrap_or_else(|| UNKNOWN_TYPE.to_owned());
    Some(RemoteFile { content_type, disposition: header("content-disposition"), bytes: bytes.to_vec() })
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..place)?, bytes.get(place + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_second_part() {
        let body = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\ncontent-type: image/png\r\nContent-Disposition: inline; filename=a.png\r\n\r\n\r\n--\x00--\r\n--x--\r\n";
        let found = file(body, "x").unwrap();
        let disposition = Some("inline; filename=a.png".to_owned());
        assert_eq!(found, RemoteFile { content_type: "image/png".into(), disposition, bytes: b"\r\n--\x00--".to_vec() });
        for broken in
            [&body[..40], &body[..60], &body[..body.len() - 12], b"", b"--x\r\n\r\n\r\n--x\r\nLocation: http://a/\r\n\r\n\r\n--x--"]
        {
            assert_eq!(file(broken, "x"), None);
        }
    }

    #[test]
    fn boundaries_are_read_in_all_spellings() {
        for kind in ["multipart/mixed; boundary=ab", "Multipart/Mixed;charset=x; Boundary=\"ab\""] {
            assert_eq!(boundary(kind).as_deref(), Some("ab"), "{kind}");
        }
        for kind in ["text/plain; boundary=ab", "multipart/mixed", "multipart/mixed; boundary="] {
            assert_eq!(boundary(kind), None, "{kind}");
        }
    }
}
