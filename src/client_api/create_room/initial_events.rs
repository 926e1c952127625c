//! The events that a room begins with, in the order that the specification gives them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>

use std::rc::Rc;

use ruma::{OwnedUserId, RoomAliasId, UserId};
use serde_json::{Value, json};

use super::{
    power_levels,
    request::{CreateRoomRequest, Preset},
};
use crate::{
    client_api::membership::{MemberContent, check_invitation, load_profiles},
    error::Error,
    event::NewEvent,
    federation,
    gather::Gather,
    ordered::OrderedSet,
    room_server::{Draft, Need, Room, Undecided},
    server::Server,
};

/// What follows the create event.
pub(super) struct InitialEvents<'a> {
    pub(super) request: &'a CreateRoomRequest,
    pub(super) creator: &'a UserId,
    pub(super) alias: Option<&'a RoomAliasId>,
}

impl InitialEvents<'_> {
    pub(super) fn add(&self, draft: &mut Draft<'_>) -> Result<(), Undecided> {
        load_profiles(draft.view(), self.request.invite.iter().map(|user| &**user).chain([self.creator]))?;
        let join = MemberContent::new("join").with_profile(draft.view(), self.creator)?;
        self.add_state(draft, "m.room.member", self.creator.as_str(), join.into())?;
        let levels = power_levels::initial(self.request, self.creator, &draft.room().version);
        self.add_state(draft, "m.room.power_levels", "", levels)?;
        if let Some(alias) = self.alias {
            self.add_state(draft, "m.room.canonical_alias", "", json!({ "alias": alias }))?;
        }
        for (kind, content) in self.preset_events() {
            self.add_state(draft, kind, "", content)?;
        }
        for event in &self.request.initial_state {
            if event.kind == "m.room.create" {
                return Err(Error::forbidden("A room has one create event, and the server makes it.").into());
            }
            self.add_state(draft, &event.kind, &event.state_key, event.content.clone().into())?;
        }
        self.add_name_and_topic(draft)?;
        self.add_invitations(draft)
    }

    /// What `initial_state` says in their place takes precedence over the preset's events.
    fn preset_events(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let (join_rule, guest_access) = match self.request.preset() {
            Preset::Private | Preset::TrustedPrivate => ("invite", "can_join"),
            Preset::Public => ("public", "forbidden"),
        };
        let events = [
            ("m.room.join_rules", json!({ "join_rule": join_rule })),
            ("m.room.history_visibility", json!({ "history_visibility": "shared" })),
            ("m.room.guest_access", json!({ "guest_access": guest_access })),
        ];
        let given = |kind: &str| self.request.initial_state.iter().any(|event| event.kind == kind && event.state_key.is_empty());
        events.into_iter().filter(move |(kind, _)| !given(kind))
    }

    fn add_name_and_topic(&self, draft: &mut Draft<'_>) -> Result<(), Undecided> {
        if let Some(name) = &self.request.name {
            self.add_state(draft, "m.room.name", "", json!({ "name": name }))?;
        }
        if let Some(topic) = &self.request.topic {
            let block = json!({ "m.text": [{ "body": topic, "mimetype": "text/plain" }] });
            self.add_state(draft, "m.room.topic", "", json!({ "topic": topic, "m.topic": block }))?;
        }
        Ok(())
    }

    fn add_invitations(&self, draft: &mut Draft<'_>) -> Result<(), Undecided> {
        for user in self.invited().filter(|user| user.server_name() == self.creator.server_name()) {
            check_invitation(draft, self.creator, user)?;
            let content = self.invitation(draft, user)?;
            self.add_state(draft, "m.room.member", user.as_str(), content)?;
        }
        Ok(())
    }

    /// Invites those whose own servers must ask them. The room is there by now, and stays if somebody cannot be reached: they
    /// can be invited again.
    pub(super) async fn invite_from_elsewhere(&self, server: &Server, room: &Rc<Room>) -> Result<(), Error> {
        for user in self.invited().filter(|user| user.server_name() != self.creator.server_name()) {
            let decide = |draft: &mut Draft<'_>| {
                let content = self.invitation(draft, user)?;
                Ok(Some(NewEvent::state(self.creator.to_owned(), "m.room.member", user.as_str(), content)))
            };
            if let Err(error @ (Error::Storage(_) | Error::Bug(_))) = federation::invite(server, room, user, decide).await {
                return Err(error);
            }
        }
        Ok(())
    }

    fn invited(&self) -> impl Iterator<Item = &OwnedUserId> {
        self.request.invite.iter().gather::<OrderedSet<_>>().into_iter()
    }

    fn invitation(&self, draft: &Draft<'_>, user: &UserId) -> Result<Value, Need> {
        let content = MemberContent::new("invite").with_profile(draft.view(), user)?;
        Ok(if self.request.is_direct { content.with("is_direct", true) } else { content }.into())
    }

    fn add_state(&self, draft: &mut Draft<'_>, kind: &str, state_key: &str, content: Value) -> Result<(), Undecided> {
        draft.add(NewEvent::state(self.creator.to_owned(), kind, state_key, content), None)?;
        Ok(())
    }
}
