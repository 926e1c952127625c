//! What somebody wants a membership to become, and the event that makes it so.

use std::rc::Rc;

use ruma::{OwnedUserId, UserId};

use super::{MemberContent, check_invitation, restricted};
use crate::{
    error::Error,
    event::NewEvent,
    federation::{self, for_client},
    parse,
    room_server::{
        Draft, Room, Undecided,
        commit::{UserRoom, user_room_key},
    },
    server::Server,
};

/// A change of membership. Joining is apart, because other rooms may have a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Knock,
    Invite,
    Leave,
    Kick,
    Ban,
    Unban,
}

impl Intent {
    fn membership(self) -> &'static str {
        match self {
            Self::Knock => "knock",
            Self::Invite => "invite",
            Self::Leave | Self::Kick | Self::Unban => "leave",
            Self::Ban => "ban",
        }
    }

    /// Whether there is nothing left to do.
    fn is_done(self, membership: Option<&str>) -> bool {
        match self {
            Self::Knock => membership == Some("knock"),
            Self::Invite => membership == Some("invite"),
            Self::Leave => membership == Some("leave"),
            Self::Kick | Self::Ban | Self::Unban => false,
        }
    }

    /// Refuses what the room's rules would take for something else: they know one kind of leaving only.
    fn check_target(self, membership: Option<&str>) -> Result<(), Error> {
        match (self, membership) {
            (Self::Kick, Some("join" | "invite" | "knock")) | (Self::Unban, Some("ban")) => Ok(()),
            (Self::Kick, _) => Err(Error::forbidden("That user is not in the room.")),
            (Self::Unban, _) => Err(Error::refused(403, "M_BAD_STATE", "That user is not banned.")),
            _ => Ok(()),
        }
    }

    /// A newcomer is shown as their profile says; who goes is not shown anew.
    fn shows_profile(self) -> bool {
        matches!(self, Self::Knock | Self::Invite)
    }
}

/// Makes the event that changes the membership of `target`, if the room allows `sender` to.
pub(crate) async fn change_membership(
    server: &Server,
    room: &Rc<Room>,
    intent: Intent,
    sender: &UserId,
    target: &UserId,
    reason: Option<&str>,
) -> Result<(), Error> {
    if intent == Intent::Invite && target.server_name() != server.identity.server_name() {
        let decide = |draft: &mut Draft<'_>| event(draft, intent, sender, target, reason);
        return federation::invite(server, room, target, decide).await.map(drop).map_err(for_client);
    }
    let decide = |draft: &mut Draft<'_>| {
        if let Some(event) = event(draft, intent, sender, target, reason)? {
            draft.add(event, None)?;
        }
        Ok(())
    };
    server.rooms.transact_in(room, decide).await
}

/// The event to make, or `None` where there is nothing left to do.
fn event(
    draft: &mut Draft<'_>,
    intent: Intent,
    sender: &UserId,
    target: &UserId,
    reason: Option<&str>,
) -> Result<Option<NewEvent>, Undecided> {
    if sender != target && draft.membership(sender)?.as_deref() != Some("join") {
        return Err(Error::forbidden("You are not in this room.").into());
    }
    let membership = draft.membership(target)?;
    if intent.is_done(membership.as_deref()) {
        return Ok(None);
    }
    intent.check_target(membership.as_deref())?;
    if intent == Intent::Invite {
        check_invitation(draft, sender, target)?;
    }
    let mut content = MemberContent::new(intent.membership()).with_reason(reason);
    if intent.shows_profile() {
        content = content.with_profile(draft.view(), target)?;
    }
    Ok(Some(member_event(sender, target, content)))
}

/// Joins a room, as the user was invited, as anybody may, or as a member of another room that opens this one. Returns whether
/// the user was not in it before.
pub(crate) async fn join(server: &Server, room: &Rc<Room>, user: &UserId, reason: Option<&str>) -> Result<bool, Error> {
    let granting = restricted::candidates(server, room).await?;
    server.rooms.transact_in(room, |draft| decide_join(draft, user, reason, &granting)).await
}

fn decide_join(draft: &mut Draft<'_>, user: &UserId, reason: Option<&str>, granting: &[OwnedUserId]) -> Result<bool, Undecided> {
    let membership = draft.membership(user)?;
    if membership.as_deref() == Some("join") {
        return Ok(false);
    }
    let mut content = MemberContent::new("join").with_reason(reason).with_profile(draft.view(), user)?;
    if !matches!(membership.as_deref(), Some("invite" | "ban"))
        && let Some(granting) = restricted::authorising_user(draft, user, granting)?
    {
        content = content.with("join_authorised_via_users_server", granting.as_str());
    }
    draft.add(member_event(user, user, content), None)?;
    Ok(true)
}

fn member_event(sender: &UserId, target: &UserId, content: MemberContent) -> NewEvent {
    NewEvent::state(sender.to_owned(), "m.room.member", target.as_str(), content.into())
}

/// Forgets a room that the user has left.
pub(super) async fn forget(server: &Server, room: &Rc<Room>, user: &UserId) -> Result<(), Error> {
    let key = user_room_key(user, room.number);
    let decide = |draft: &mut Draft<'_>| {
        let row = draft.view().row(&key)?;
        let Some(mut row) = row.and_then(|row| parse::json::<UserRoom>(&row).ok()) else {
            return Err(Error::not_found("You have never been in this room.").into());
        };
        if matches!(row.membership.as_str(), "join" | "invite" | "knock") {
            return Err(Error::refused(400, "M_UNKNOWN", "Leave the room before you forget it.").into());
        }
        row.forgotten = true;
        draft.rows().put_json(key.clone(), &row);
        Ok(())
    };
    server.rooms.transact_in(room, decide).await
}
