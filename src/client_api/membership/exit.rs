//! Leaving a room: by this server's own event where it is in the room, and with other servers' help where it is not.

use std::rc::Rc;

use ruma::UserId;

use super::{
    entry::{candidates, last_change},
    intent::{Intent, change_membership},
};
use crate::{
    error::Error,
    federation::{self, Located, OwnMembership},
    room_server::{Room, stored::Status},
    server::Server,
};

/// Leaves a room, declines an invitation or takes back a knock.
pub(super) async fn leave(server: &Server, room: &Rc<Room>, user: &UserId, reason: Option<&str>) -> Result<(), Error> {
    let last = last_change(server, room, user).await?;
    let waiting = last.filter(|last| matches!(last.pdu.content_str("membership").as_deref(), Some("invite" | "knock")));
    if let Some(waiting) = waiting
        && !server.rooms.is_resident(room, server.identity.server_name()).await?
    {
        let located = Located { room_id: room.id.clone(), servers: Vec::new() };
        let candidates = candidates(server, &located, Some(room), user).await?;
        if waiting.decided.status == Status::Outlier || !candidates.is_empty() {
            let own = OwnMembership { room: &room.id, user, membership: "leave", reason };
            return federation::leave(server, own, room, &waiting, &candidates).await;
        }
    }
    change_membership(server, room, Intent::Leave, user, user, reason).await
}
