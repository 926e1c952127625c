//! Media: what was uploaded, by whom, and the thumbnails made of it. The bytes are the blobs' affair.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

mod awaiting;
pub(crate) mod disposition;
mod remote;
mod reservations;
mod thumbnails;
mod uploads;

use std::cell::RefCell;

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use self::{
    awaiting::uploaded,
    remote::remote,
    reservations::reserve,
    thumbnails::{Method, Thumbnail, remote_thumbnail, thumbnail},
    uploads::{NewContent, upload, upload_reserved},
};
use crate::{
    error::Error,
    locks::Locks,
    ordered::OrderedSet,
    parse,
    server::Server,
    storage::{Key, Table},
};

/// The largest upload in bytes: a long video of a phone fits, and a few such files do not use up what a browser allows.
pub(crate) const MAX_UPLOAD: u64 = 100 << 20;

/// What was uploaded without a content type.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
pub(crate) const UNKNOWN_TYPE: &str = "application/octet-stream";

/// What of the media is known in memory only.
#[derive(Default)]
pub(crate) struct MediaInMemory {
    /// Media whose bytes are coming in.
    incoming: RefCell<OrderedSet<String>>,
    /// Held while a thumbnail is made, by its blob.
    thumbnails: Locks<String>,
    /// Held while a file of another server is fetched.
    fetching: Locks<String>,
}

/// A medium as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Medium {
    #[serde(rename = "u")]
    pub(crate) uploader: OwnedUserId,
    #[serde(rename = "c")]
    pub(crate) created: u64,
    /// `None` until it is uploaded.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
    /// Until when it must be uploaded, in milliseconds since the Unix epoch.
    #[serde(rename = "x")]
    expires: u64,
}

/// What was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    #[serde(rename = "t")]
    pub(crate) content_type: String,
    #[serde(rename = "s")]
    pub(crate) size: u64,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// The medium of that ID, uploaded or awaited.
pub(crate) async fn find(server: &Server, id: &str) -> Result<Option<Medium>, Error> {
    let medium: Option<Medium> = read(server, media_key(id)).await?;
    Ok(medium.filter(|medium| medium.content.is_some() || medium.expires > server.now()))
}

async fn read<T: DeserializeOwned>(server: &Server, key: Key) -> Result<Option<T>, Error> {
    let row = server.ports.store.get_many(&[key]).await?.pop().flatten();
    row.map(|row| parse::json(&row).map_err(|error| Error::bug(format!("a stored medium: {error}")))).transpose()
}

fn media_key(id: &str) -> Key {
    Key::new(Table::Media).text(id)
}
