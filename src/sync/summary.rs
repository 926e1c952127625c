//! A room's summary: how many there are, and by whom to call a room that has no name.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync> (room summary)

use serde_json::{Map, Value};

use super::window::Window;
use crate::{
    error::Error,
    room_server::{Room, first_members::first_members},
    server::Server,
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
        let members = first_members(&*server.ports.store, room).await?;
        let others = |members: &[String]| members.iter().filter(|member| **member != window.user.as_str()).cloned().collect::<Vec<_>>();
        let mut heroes = others(&members.present);
        if heroes.is_empty() {
            // Who has gone is named only where nobody is left.
            heroes = others(&members.gone);
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
