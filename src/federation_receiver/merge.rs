//! Keeping the forward extremities of a room few: whoever's turn it is sends an event that says nothing and builds on them.
//!
//! The state of a room is resolved over all of its forward extremities, each time that an event comes. Where many servers send
//! at once and lose sight of each other, or one does so on purpose, there would be more and more of them.

use std::rc::Rc;

use ruma::ServerName;
use serde_json::json;

use crate::{
    error::Error,
    event::NewEvent,
    room_server::residents::Residents,
    room_server::{Draft, Room},
    server::Server,
};

/// Past so many, they are merged: one event names no more.
///
/// <https://spec.matrix.org/v1.19/rooms/v1/#event-format>
const MAX_EXTREMITIES: usize = 20;

/// Past so many, nobody waits for their turn.
const MAX_PATIENCE: usize = 100;

/// So many events are made at a time.
const MAX_EVENTS: usize = 20;

/// The type of an event that merges and says nothing. It is the one that other servers know, and do not show to anybody.
const MERGING: &str = "org.matrix.dummy_event";

/// Merges the room's forward extremities, if there are too many and it is this server's turn.
pub(super) async fn merge(server: &Server, room: &Rc<Room>) -> Result<(), Error> {
    let count = room.head().extremities.len();
    if count <= MAX_EXTREMITIES || !is_turn_of(server.identity.server_name(), &*server.rooms.residents(room).await?, count) {
        return Ok(());
    }
    for user in server.accounts.active_users().await? {
        let decide = |draft: &mut Draft<'_>| {
            if draft.membership(&user)?.as_deref() != Some("join") {
                return Ok(false);
            }
            for _ in 0..MAX_EVENTS {
                if draft.head.extremities.len() <= MAX_EXTREMITIES {
                    break;
                }
                draft.add(NewEvent::message(user.clone(), MERGING, json!({})), None)?;
            }
            Ok(true)
        };
        match server.rooms.transact_in(room, decide).await {
            Ok(true) => break,
            // Somebody else may be allowed to.
            Ok(false) | Err(Error::Refused(_) | Error::Peer(_) | Error::Transport(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it is a server's turn. The turn moves on with each event, so that not all merge at once, and none waits for one that is away.
fn is_turn_of(name: &ServerName, residents: &Residents, extremities: usize) -> bool {
    let place = residents.keys().position(|resident| resident == name);
    place.is_some_and(|place| extremities > MAX_PATIENCE || extremities % residents.len() == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_goes_round() {
        let name = |number: usize| ServerName::parse(format!("s{number}.example")).unwrap();
        let residents: Residents = (0..3).map(|number| (name(number), 1)).collect();
        for count in 21..=100 {
            let turns: Vec<_> = (0..3).filter(|number| is_turn_of(&name(*number), &residents, count)).collect();
            assert_eq!(turns, [count % 3]);
        }
        assert!((0..3).all(|number| is_turn_of(&name(number), &residents, 101)));
        assert!(!is_turn_of(&name(3), &residents, 101), "who is not in the room has no turn");
    }
}
