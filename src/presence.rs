//! Presence: who is there, who is idle, and what they say of themselves.
//!
//! What local users do is known in memory; what others are told of it is stored with its position in the log, and changes
//! with a user's state alone, not with each sync or message. What other servers tell of their users is stored alike.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

mod local;
mod note;
mod remote;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::{
    local::LocalPresence,
    note::{note_activity, note_end, note_sync, refresh, set},
    remote::{receive, told_at},
};
use crate::{
    error::Error,
    ports::Store,
    room_server::Position,
    rows,
    server::Server,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// What another server said holds for so long, in milliseconds: servers say it again before, as this one does.
const REMOTE_LIFETIME: u64 = 30 * 60 * 1000;

/// After so long, in milliseconds, what one server told another of its users is worth nothing: it has been told again since, or
/// they are not there.
pub(crate) const EDU_LIFETIME: u64 = 10 * 60 * 1000;

/// A user's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Online,
    Unavailable,
    #[default]
    Offline,
}

impl State {
    /// The state of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "online" => Self::Online,
            "unavailable" => Self::Unavailable,
            "offline" => Self::Offline,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unavailable => "unavailable",
            Self::Offline => "offline",
        }
    }
}

/// What others are told of a user, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    #[serde(rename = "s")]
    pub(crate) state: State,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) status_msg: Option<String>,
    /// When the user was last active, in milliseconds since the Unix epoch.
    #[serde(rename = "a")]
    pub(crate) last_active: u64,
    /// When this was told.
    #[serde(rename = "t")]
    at: u64,
    /// Where in the log.
    #[serde(rename = "p", default)]
    position: Position,
}

impl Told {
    /// Adds to a commit that this is told at a position, in place of what was told before.
    fn write(mut self, kind: u8, user: &UserId, before: Option<Position>, position: Position, batch: &mut Batch) -> Self {
        self.position = position;
        if let Some(before) = before {
            batch.delete(log_key(before));
        }
        batch.put_json(log_key(position), &user);
        batch.put_json(row_key(kind, user), &self);
        self
    }

    /// The content of an `m.presence` event.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#mpresence>
    pub(crate) fn content(&self, now: u64) -> Map<String, Value> {
        let mut content = Map::new();
        content.insert("presence".into(), self.state.name().into());
        if self.last_active > 0 {
            content.insert("last_active_ago".into(), now.saturating_sub(self.last_active).into());
        }
        if self.state == State::Online {
            // Who is online was active a few minutes ago at most, and is told to be idle after that.
            content.insert("currently_active".into(), true.into());
        }
        if let Some(status_msg) = &self.status_msg {
            content.insert("status_msg".into(), status_msg.as_str().into());
        }
        content
    }
}

/// What is known of a user, local or of another server.
pub(crate) async fn of(server: &Server, user: &UserId) -> Result<Option<Told>, Error> {
    if user.server_name() == server.name() {
        note::load(server).await?;
        return Ok(server.presence.of(user, server.now()));
    }
    let told: Option<Told> = rows::one(&*server.ports.store, row_key(REMOTE, user)).await?;
    Ok(told.map(|told| aged(told, server.now())))
}

/// Who has not been heard of for long is not there any more, for all that is known.
fn aged(told: Told, now: u64) -> Told {
    if now.saturating_sub(told.at) < REMOTE_LIFETIME { told } else { Told { state: State::Offline, ..told } }
}

/// Users whose presence was told behind `since` and up to `upto`.
pub(crate) async fn changed_since(store: &dyn Store, since: Position, upto: Position) -> Result<Vec<OwnedUserId>, Error> {
    let range = Scan::range(log_key(Position(since.0 + 1)), log_key(Position(upto.0 + 1)));
    Ok(rows::range(store, &range).await?.into_iter().map(|(_, user)| user).collect())
}

/// Users who were last told not to be offline.
pub(crate) async fn present(store: &dyn Store) -> Result<Vec<OwnedUserId>, Error> {
    let rows: Vec<(_, Told)> = rows::range(store, &Scan::prefix(Key::new(Table::Presence))).await?;
    Ok(rows.iter().filter(|(_, told)| told.state != State::Offline).filter_map(|(row, _)| user_of_key(row)).collect())
}

/// Rows of local users come before those of other servers' users.
const LOCAL: u8 = 0;
const REMOTE: u8 = 1;

fn user_of_key(row: &[u8]) -> Option<OwnedUserId> {
    let mut key = KeyReader::new(row);
    key.byte()?;
    UserId::parse(key.text()?).ok()
}

fn row_key(kind: u8, user: &UserId) -> Key {
    Key::new(Table::Presence).byte(kind).text(user.as_str())
}

fn log_key(position: Position) -> Key {
    Key::new(Table::PresenceLog).number(position.0)
}
