//! A room's summary: how many there are, and by whom to call a room that has no name.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync> (room summary)

use serde_json::{Map, Value};

use super::window::Window;
use crate::{
    error::Error,
    room_server::{Room, commit::members_prefix},
    server::Server,
    storage::{KeyReader, Scan},
};

/// So many members are named.
const HEROES: usize = 5;

/// A room's summary.
pub(crate) struct Summary {
    pub(crate) heroes: Vec<String>,
    joined: u64,
    invited: u64,
}

impl Summary {
    /// Reads the summary as of now.
    pub(crate) async fn read(server: &Server, room: &Room, window: &Window) -> Result<Self, Error> {
        let head = room.head();
        let mut heroes = Vec::new();
        for memberships in [["join", "invite"].as_slice(), ["leave", "ban"].as_slice()] {
            for membership in memberships {
                heroes.extend(others(server, room, window, membership).await?);
            }
            // Who has gone is named only where nobody is left.
            if !heroes.is_empty() {
                break;
            }
        }
        heroes.truncate(HEROES);
        Ok(Self { heroes, joined: head.joined, invited: head.invited })
    }

    /// The summary as a sync response holds it.
    pub(crate) fn to_json(&self) -> Value {
        let mut summary = Map::new();
        summary.insert("m.heroes".into(), self.heroes.clone().into());
        summary.insert("m.joined_member_count".into(), self.joined.into());
        summary.insert("m.invited_member_count".into(), self.invited.into());
        summary.into()
    }
}

async fn others(server: &Server, room: &Room, window: &Window, membership: &str) -> Result<Vec<String>, Error> {
    let scan = Scan::prefix(members_prefix(room.number, membership)).limited(HEROES + 1);
    let rows = server.ports.store.scan(&scan).await?;
    let user = |key: &[u8]| {
        let mut key = KeyReader::new(key);
        key.number()?;
        key.text()?;
        key.text()
    };
    Ok(rows.iter().filter_map(|row| user(&row.key)).filter(|user| *user != window.user.as_str()).collect())
}
