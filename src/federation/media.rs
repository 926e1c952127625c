//! Fetching a file from the server that has it.

use ruma::ServerName;

use super::{
    malformed,
    target::{path, with_query},
};
use crate::{
    error::Error,
    federation_client,
    http::Method,
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

/// Asks a server for one of its files, and for how long to wait if it is not uploaded yet.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>
pub(crate) async fn download(server: &Server, peer: &ServerName, id: &str, timeout: Option<u64>) -> Result<RemoteFile, Error> {
    let timeout = timeout.map(|timeout| timeout.to_string());
    let target = path("v1/media/download", &[id]);
    let target = timeout.as_deref().map_or_else(|| target.clone(), |timeout| with_query(&target, [("timeout_ms", timeout)]));
    let request = server.federation_client.signed(peer, Method::Get, &target, None)?;
    let response = match server.federation_client.send(peer, request).await? {
        Reply::Answered(response) => response,
        Reply::Kept { .. } => return Err(TransportError::Unreachable(peer.to_string(), "it is away".into()).into()),
    };
    let boundary = response.headers.get("content-type").and_then(|kind| boundary(kind));
    let body = federation_client::read(response)?;
    let boundary = boundary.ok_or_else(|| malformed("the file does not come as multipart/mixed"))?;
    file(&body, &boundary).ok_or_else(|| malformed("the file does not come as one of two parts"))
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
