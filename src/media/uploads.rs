//! Uploads: first the blob, then the row that makes it a medium.

use ruma::UserId;

use super::{Content, MAX_UPLOAD, Medium, find, media_key, reservations};
use crate::{
    error::Error,
    http::Body,
    server::Server,
    storage::{Batch, Durability},
};

/// A file that comes in.
pub(crate) struct NewContent {
    pub(crate) body: Body,
    pub(crate) content_type: String,
    pub(crate) name: Option<String>,
}

/// Stores a new medium and returns its ID.
pub(crate) async fn upload(server: &Server, user: &UserId, new: NewContent) -> Result<String, Error> {
    // Only lost power loses the note, and with it a blob that was not told to anybody.
    let (reserved, medium) = reservations::note(server, user, Durability::Relaxed).await?;
    let incoming = Incoming::begin(server, &reserved.id)?;
    let stored = store(server, &reserved.id, medium, new).await;
    drop(incoming);
    if stored.is_err() {
        let mut batch = Batch::relaxed();
        batch.delete(media_key(&reserved.id));
        batch.delete(reservations::waiting_key(reserved.expires, &reserved.id));
        server.ports.store.commit(batch).await?;
    }
    stored.map(|()| reserved.id)
}

/// Stores the bytes of a medium whose ID was given out before.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>
pub(crate) async fn upload_reserved(server: &Server, user: &UserId, id: &str, new: NewContent) -> Result<(), Error> {
    let medium = find(server, id).await?.ok_or_else(|| Error::not_found("This ID was not given out, or too long ago."))?;
    if medium.uploader != user {
        return Err(Error::forbidden("This ID was given to somebody else."));
    }
    let _incoming = Incoming::begin(server, id)?;
    // Another upload may have ended while this one asked for the medium.
    if find(server, id).await?.is_none_or(|medium| medium.content.is_some()) {
        return Err(overwritten());
    }
    store(server, id, medium, new).await
}

async fn store(server: &Server, id: &str, medium: Medium, new: NewContent) -> Result<(), Error> {
    let NewContent { body, content_type, name } = new;
    let size = server.ports.blobs.put(id, body, &content_type, MAX_UPLOAD).await?;
    let mut batch = Batch::new();
    batch.delete(reservations::waiting_key(medium.expires, id));
    batch.put_json(media_key(id), &Medium { content: Some(Content { content_type, size, name }), ..medium });
    if let Err(error) = server.ports.store.commit(batch).await {
        server.ports.blobs.remove(id).await?;
        return Err(error.into());
    }
    server.log.wake();
    Ok(())
}

fn overwritten() -> Error {
    Error::refused(409, "M_CANNOT_OVERWRITE_MEDIA", "This was uploaded already.")
}

/// An upload under way, which keeps others from the same ID.
struct Incoming<'a> {
    server: &'a Server,
    id: String,
}

impl<'a> Incoming<'a> {
    fn begin(server: &'a Server, id: &str) -> Result<Self, Error> {
        let is_first = server.media.incoming.borrow_mut().insert(id.to_owned());
        if is_first { Ok(Self { server, id: id.to_owned() }) } else { Err(overwritten()) }
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.server.media.incoming.borrow_mut().remove(&self.id);
    }
}
