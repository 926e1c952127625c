//! Media IDs that were given out before the bytes are there, for a time.

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{Medium, media_key};
use crate::{
    error::Error,
    parse,
    server::Server,
    storage::{Batch, Durability, Key, KeyReader, Row, Scan, Table},
};

/// How long an upload may take to begin and end, as the specification recommends.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>
const TIME_TO_UPLOAD: u64 = 24 * 60 * 60 * 1_000;

/// So many media one user may have reserved at a time.
const MAX_RESERVED: usize = 100;

/// So many expired reservations are removed by each new one, so that none has to remove many.
const REMOVED_AT_ONCE: usize = 10;

/// A medium that awaits its bytes.
pub(crate) struct Reserved {
    pub(crate) id: String,
    pub(crate) expires: u64,
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    #[serde(rename = "u")]
    user: OwnedUserId,
}

/// Gives out the ID of a medium that is uploaded later.
pub(crate) async fn reserve(server: &Server, user: &UserId) -> Result<Reserved, Error> {
    let rows = server.ports.store.scan(&Scan::range(waiting_prefix().number(server.now()), waiting_prefix().number(u64::MAX))).await?;
    let of_user = |row: &&Row| parse::json::<Waiting>(&row.value).is_ok_and(|waiting| waiting.user == user);
    if rows.iter().filter(of_user).count() >= MAX_RESERVED {
        let message = "You have reserved as much as you may; upload some of it first.";
        return Err(Error::refused(429, "M_LIMIT_EXCEEDED", message).with("retry_after_ms", TIME_TO_UPLOAD));
    }
    note(server, user, Durability::Strict).await.map(|(reserved, _)| reserved)
}

/// Notes that a medium is about to be uploaded, so that its blob is found and removed if it never is.
pub(super) async fn note(server: &Server, user: &UserId, durability: Durability) -> Result<(Reserved, Medium), Error> {
    remove_expired(server).await?;
    let now = server.now();
    let reserved = Reserved { id: new_id(server), expires: now + TIME_TO_UPLOAD };
    let medium = Medium { uploader: user.to_owned(), created: now, content: None, expires: reserved.expires };
    let mut batch = Batch { durability, ..Batch::new() };
    batch.put_json(media_key(&reserved.id), &medium);
    batch.put_json(waiting_key(reserved.expires, &reserved.id), &Waiting { user: user.to_owned() });
    server.ports.store.commit(batch).await?;
    Ok((reserved, medium))
}

/// The row that finds a medium by the time at which its reservation ends.
pub(super) fn waiting_key(expires: u64, id: &str) -> Key {
    waiting_prefix().number(expires).text(id)
}

/// Removes what was not uploaded in time, with what there may be of its bytes.
async fn remove_expired(server: &Server) -> Result<(), Error> {
    let expired = Scan::range(waiting_prefix(), waiting_prefix().number(server.now()));
    let rows = server.ports.store.scan(&expired.limited(REMOVED_AT_ONCE)).await?;
    let mut batch = Batch::relaxed();
    for (expires, id) in rows.iter().filter_map(read_key) {
        if server.media.incoming.borrow().contains(&id) {
            continue;
        }
        server.ports.blobs.remove(&id).await?;
        batch.delete(media_key(&id));
        batch.delete(waiting_key(expires, &id));
    }
    if batch.is_empty() { Ok(()) } else { Ok(server.ports.store.commit(batch).await?) }
}

fn read_key(row: &Row) -> Option<(u64, String)> {
    let mut key = KeyReader::new(&row.key);
    key.byte()?;
    Some((key.number()?, key.text()?))
}

/// No media ID begins with a zero byte.
fn waiting_prefix() -> Key {
    Key::new(Table::Media).byte(0)
}

/// 128 random bits, which nobody guesses: who knows an ID may download.
fn new_id(server: &Server) -> String {
    format!("{:032x}", u128::from_be_bytes(server.random()))
}
