//! History visibility: whether a user may see an event.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use ruma::{UserId, events::StateEventType};

use crate::room_server::{Need, View, snapshot::Snapshot, stored::StoredEvent};

/// Whether a user may see an event, by the state at it and the user's membership since.
///
/// `joined_since` tells whether the user joined the room at some time after the event.
pub(crate) fn is_visible(view: &View<'_>, event: &StoredEvent, user: &UserId, joined_since: bool) -> Result<bool, Need> {
    let state = event.decided.before;
    let after = event.decided.after;
    // A change of visibility or of the user's own membership is seen by whoever may see it before or after.
    let before = Seen::at(view, state, user)?;
    if before.allows(joined_since) {
        return Ok(true);
    }
    let changes_sight = event.pdu.is_state("m.room.history_visibility", "") || event.pdu.is_state("m.room.member", user.as_str());
    Ok(changes_sight && Seen::at(view, after, user)?.allows(joined_since))
}

/// What decides over sight in one state.
struct Seen {
    visibility: String,
    membership: Option<String>,
}

impl Seen {
    fn at(view: &View<'_>, state: Snapshot, user: &UserId) -> Result<Self, Need> {
        let visibility = state.content_str(view, &StateEventType::RoomHistoryVisibility, "", "history_visibility")?;
        let membership = state.content_str(view, &StateEventType::RoomMember, user.as_str(), "membership")?;
        Ok(Self { visibility: visibility.unwrap_or_else(|| "shared".into()), membership })
    }

    fn allows(&self, joined_since: bool) -> bool {
        let membership = self.membership.as_deref();
        match self.visibility.as_str() {
            "world_readable" => true,
            "invited" => matches!(membership, Some("join" | "invite")),
            "joined" => membership == Some("join"),
            _ => membership == Some("join") || joined_since,
        }
    }
}

/// Whether whoever is in the room now may see an event, whenever they came.
pub(crate) fn is_visible_to_members(view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
    let visibility = event.decided.before.content_str(view, &StateEventType::RoomHistoryVisibility, "", "history_visibility")?;
    Ok(!matches!(visibility.as_deref(), Some("invited" | "joined")))
}

/// Whether all the world may read the room as it is in this state.
pub(crate) fn is_world_readable(view: &View<'_>, state: Snapshot) -> Result<bool, Need> {
    let visibility = state.content_str(view, &StateEventType::RoomHistoryVisibility, "", "history_visibility")?;
    Ok(visibility.as_deref() == Some("world_readable"))
}
