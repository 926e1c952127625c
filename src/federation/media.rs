//! Fetching a file from the server that has it, which streams from there into this server's blobs.

mod second_part;

use std::{cell::RefCell, io, pin::pin, rc::Rc};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};
use ruma::ServerName;

use self::second_part::second_part;
use super::{
    candidates::is_unrecognized,
    malformed,
    target::{encoded, path, with_query},
};
use crate::{
    error::Error,
    federation_client,
    http::{Body, Coming, Method, Pieces, Response},
    media::{MAX_UPLOAD, UNKNOWN_TYPE},
    ports::{BlobError, Clock, Reply, TransportError},
    server::Server,
};

/// A file that stands still for so long does not come any more.
const PATIENCE_MILLIS: u64 = 60_000;

/// A file as another server sends it.
pub(crate) struct RemoteFile {
    pub(crate) content_type: String,
    /// What the other server says how to show the file.
    pub(crate) disposition: Option<String>,
    content: Pieces,
}

impl RemoteFile {
    /// Stores the file as it comes, and returns its size. Nothing is stored of one that does not come as a whole.
    pub(crate) async fn store(self, server: &Server, blob: &str) -> Result<u64, Error> {
        let failure = Rc::new(RefCell::new(None));
        let content = watched(self.content, Rc::clone(&server.ports.clock), Rc::clone(&failure));
        let stored = server.ports.blobs.put(blob, Body::Coming(Coming::new(content)), &self.content_type, MAX_UPLOAD).await;
        match (stored, failure.take()) {
            (Err(BlobError::Failed(_)), Some(why)) => Err(malformed(format!("the file does not come as a whole: {why}"))),
            (stored, _) => Ok(stored?),
        }
    }
}

/// The same pieces, not waited for without an end; why they fail, if they do, is noted.
fn watched(content: Pieces, clock: Rc<dyn Clock>, failure: Rc<RefCell<Option<String>>>) -> Pieces {
    let next = |(mut content, clock, failure): (Pieces, Rc<dyn Clock>, Rc<RefCell<Option<String>>>)| async move {
        let piece = match select(content.next(), clock.sleep(PATIENCE_MILLIS)).await {
            Either::Left((piece, _)) => piece?,
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = &piece {
            *failure.borrow_mut() = Some(error.to_string());
        }
        Some((piece, (content, clock, failure)))
    };
    stream::unfold((content, clock, failure), next).boxed_local()
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
    match ask(server, peer, &with(&target, &query)).await {
        Err(error) if is_unrecognized(&error) => {
            let target = encoded(&format!("/_matrix/media/v3/{what}"), &[peer.as_str(), id]);
            let query: Query = query.into_iter().chain([("allow_remote", "false".into())]).collect();
            ask(server, peer, &with(&target, &query)).await.map(whole)
        }
        answered => of_two_parts(server, answered?).await,
    }
}

fn with(target: &str, query: &Query) -> String {
    if query.is_empty() { target.to_owned() } else { with_query(target, query.iter().map(|(name, value)| (*name, value.as_str()))) }
}

/// The answer with its file, which was not read yet.
struct Answered {
    response: Response,
    content: Pieces,
}

async fn ask(server: &Server, peer: &ServerName, target: &str) -> Result<Answered, Error> {
    let request = server.federation_client.signed(peer, Method::Get, target, None)?;
    match server.federation_client.send(peer, request).await? {
        Reply::Answered(mut response) => {
            let coming = if let Body::Coming(coming) = &response.body { coming.take() } else { None };
            let content = match coming {
                Some(content) => content,
                None => {
                    let bytes = federation_client::read(Response { body: std::mem::take(&mut response.body), ..response.clone() })?;
                    stream::iter([Ok(bytes)]).boxed_local()
                }
            };
            Ok(Answered { response, content })
        }
        Reply::Kept { .. } => Err(TransportError::Unreachable(peer.to_string(), "it is away".into()).into()),
    }
}

async fn of_two_parts(server: &Server, answered: Answered) -> Result<RemoteFile, Error> {
    let boundary = answered.response.headers.get("content-type").and_then(|kind| boundary(kind));
    let boundary = boundary.ok_or_else(|| malformed("the file does not come as multipart/mixed"))?;
    let parts = match select(pin!(second_part(answered.content, &boundary)), server.ports.clock.sleep(PATIENCE_MILLIS)).await {
        Either::Left((parts, _)) => parts,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let (headers, content) = parts.map_err(|error| malformed(format!("the file does not come as one of two parts: {error}")))?;
    file(&headers, content).ok_or_else(|| malformed("the file is elsewhere"))
}

/// The file as clients of old are given it.
fn whole(answered: Answered) -> RemoteFile {
    let header = |name: &str| answered.response.headers.get(name).cloned();
    let content_type = header("content-type").unwrap_or_else(|| UNKNOWN_TYPE.to_owned());
    RemoteFile { content_type, disposition: header("content-disposition"), content: answered.content }
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
fn file(headers: &str, content: Pieces) -> Option<RemoteFile> {
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
    Some(RemoteFile { content_type, disposition: header("content-disposition"), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file in a body that comes in pieces of that size: type, disposition and bytes.
    fn read(body: &[u8], size: usize) -> Option<(String, Option<String>, Vec<u8>)> {
        let pieces: Vec<_> = body.chunks(size).map(|piece| Ok(piece.to_vec())).collect();
        futures_executor::block_on(async {
            let (headers, content) = second_part(stream::iter(pieces).boxed_local(), "x").await.ok()?;
            let file = file(&headers, content)?;
            let content: Vec<_> = file.content.collect().await;
            let bytes = content.into_iter().collect::<io::Result<Vec<_>>>().ok()?.concat();
            Some((file.content_type, file.disposition, bytes))
        })
    }

    #[test]
    fn a_file_is_the_second_part() {
        let body = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\ncontent-type: image/png\r\nContent-Disposition: inline; filename=a.png\r\n\r\n\r\n--\x00--\r\n--x--\r\n";
        for size in 1..body.len() {
            let disposition = Some("inline; filename=a.png".to_owned());
            assert_eq!(read(body, size), Some(("image/png".into(), disposition, b"\r\n--\x00--".to_vec())), "{size}");
            for broken in
                [&body[..40], &body[..60], &body[..body.len() - 12], b"", b"--x\r\n\r\n\r\n--x\r\nLocation: http://a/\r\n\r\n\r\n--x--"]
            {
                assert_eq!(read(broken, size), None);
            }
        }
    }

    #[test]
    fn a_head_without_an_end_is_given_up() {
        let endless = stream::repeat_with(|| Ok(vec![b'x'; 1 << 10])).boxed_local();
        assert!(futures_executor::block_on(second_part(endless, "y")).is_err());
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
