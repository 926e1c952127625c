//! Room upgrades: the new room, and the end of the old one, in one commit.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

mod power_levels;

use std::rc::Rc;

use ruma::{OwnedRoomAliasId, OwnedUserId, UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Access, Call, Route, create_room::NewRoom, handler, inherited_settings::inherit_settings, membership::MemberContent,
    published_rooms_chunk::content_of,
};
use crate::{
    directory::{Alias, alias_in, move_alias, publish},
    error::Error,
    event::{NewEvent, RoomVersion},
    gather::Gather,
    http::{Method, Response},
    ordered::OrderedSet,
    room_server::{Draft, Need, PowerLevels, Room, Undecided, commit::members_prefix},
    server::Server,
    storage::{KeyReader, Row, Scan},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Post,
    path: "/_matrix/client/{version}/rooms/{roomId}/upgrade",
    access: Access::Token,
    handler: handler!(upgrade),
}];

/// State that goes with the room, beside its power levels.
const TRANSFERRED: [StateEventType; 8] = [
    StateEventType::RoomJoinRules,
    StateEventType::RoomHistoryVisibility,
    StateEventType::RoomGuestAccess,
    StateEventType::RoomServerAcl,
    StateEventType::RoomEncryption,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
];

#[derive(Deserialize)]
struct UpgradeRequest {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>
async fn upgrade(call: Call) -> Result<Response, Error> {
    let request: UpgradeRequest = call.body()?;
    let (server, user) = (&call.server, call.user()?);
    let version = RoomVersion::supported(&request.new_version)?;
    let old = call.room(0).await?;
    let content = create_content(server, &old, user, &version, &request.additional_creators).await?;
    let new = NewRoom::make(server, user, version, content).await?;
    let _writing = server.directory.write().await;
    let upgrade = Upgrade {
        user,
        new: &new,
        creators: &request.additional_creators,
        aliases: server.directory.aliases(old.number).await?,
        banned: banned_users(server, &old).await?,
        is_published: server.directory.is_published(&old.id).await?,
    };
    let decide = |drafts: &mut [Draft<'_>]| match drafts {
        [old, new] => upgrade.decide(old, new),
        _ => Err(Error::bug("two rooms make two drafts").into()),
    };
    server.rooms.transact(&[&old, &new.room], decide).await?;
    inherit_settings(server, user, &new.room).await?;
    Ok(Response::ok(&json!({ "replacement_room": new.room.id })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#mroomcreate>
async fn create_content(
    server: &Server,
    old: &Rc<Room>,
    user: &UserId,
    version: &RoomVersion,
    creators: &[OwnedUserId],
) -> Result<Map<String, Value>, Error> {
    let head = old.head();
    let before = server.rooms.ask(old, |view| content_of(view, head.current, &StateEventType::RoomCreate)).await?;
    let kept = ["type", "m.federate"].into_iter().filter_map(|field| Some((field.to_owned(), before.get(field)?.clone())));
    let mut content: Map<String, Value> = kept.gather();
    content.insert("predecessor".into(), json!({ "room_id": old.id, "event_id": head.prev_events().first() }));
    let creators: OrderedSet<_> = creators.iter().filter(|creator| **creator != user).gather();
    if version.rules.authorization.additional_room_creators && !creators.is_empty() {
        content.insert("additional_creators".into(), json!(creators));
    }
    Ok(content)
}

async fn banned_users(server: &Server, room: &Room) -> Result<Vec<OwnedUserId>, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(members_prefix(room.number, "ban"))).await?;
    let user = |row: &Row| {
        let mut key = KeyReader::new(&row.key);
        key.number()?;
        key.text()?;
        UserId::parse(key.text()?).ok()
    };
    Ok(rows.iter().filter_map(user).collect())
}

/// Who moves which room where, and what goes along.
struct Upgrade<'a> {
    user: &'a UserId,
    new: &'a NewRoom,
    creators: &'a [OwnedUserId],
    aliases: Vec<OwnedRoomAliasId>,
    banned: Vec<OwnedUserId>,
    is_published: bool,
}

impl Upgrade<'_> {
    fn decide(&self, old: &mut Draft<'_>, new: &mut Draft<'_>) -> Result<(), Undecided> {
        let tombstone = json!({ "body": "This room has been replaced", "replacement_room": self.new.room.id });
        let before = Before::of(old)?;
        self.add(old, "m.room.tombstone", "", tombstone)?;
        self.found(new, &before)?;
        self.transfer_bans(old, new)?;
        self.move_aliases(old, new)?;
        if self.is_published {
            publish(new.rows(), &self.new.room.id, true);
            let room = old.room().id.clone();
            publish(old.rows(), &room, false);
        }
        if let Some(levels) = power_levels::closed(&before.levels) {
            add_if_allowed(self.add(old, "m.room.power_levels", "", levels))?;
        }
        Ok(())
    }

    fn found(&self, new: &mut Draft<'_>, before: &Before) -> Result<(), Undecided> {
        new.add_create(self.new.create.clone())?;
        let join = MemberContent::new("join").with_profile(new.view(), self.user)?;
        self.add(new, "m.room.member", self.user.as_str(), join.into())?;
        let levels = power_levels::transferred(&before.levels, self.user, self.creators, &new.room().version);
        self.add(new, "m.room.power_levels", "", levels.first)?;
        for (kind, state_key, content) in &before.state {
            let content =
                if *kind == StateEventType::RoomJoinRules { known_join_rule(content, &new.room().version) } else { content.clone() };
            self.add(new, &kind.to_string(), state_key, content)?;
        }
        if let Some(levels) = levels.last {
            self.add(new, "m.room.power_levels", "", levels)?;
        }
        Ok(())
    }

    /// What kept somebody out of the old room keeps them out of the new one.
    fn transfer_bans(&self, old: &Draft<'_>, new: &mut Draft<'_>) -> Result<(), Undecided> {
        for user in &self.banned {
            let Some(event) = old.state(&StateEventType::RoomMember, user.as_str())? else { continue };
            if event.pdu.content_str("membership").as_deref() == Some("ban") {
                let content = MemberContent::new("ban").with_reason(event.pdu.content_str("reason").as_deref());
                add_if_allowed(self.add(new, "m.room.member", user.as_str(), content.into()))?;
            }
        }
        Ok(())
    }

    fn move_aliases(&self, old: &mut Draft<'_>, new: &mut Draft<'_>) -> Result<(), Undecided> {
        for alias in &self.aliases {
            let Some(target) = alias_in(old.view(), alias)? else { continue };
            let target = Alias { room_id: self.new.room.id.clone(), ..target };
            move_alias(new.rows(), alias, old.room().number, self.new.room.number, &target);
        }
        if let Some(event) = old.state(&StateEventType::RoomCanonicalAlias, "")? {
            self.add(new, "m.room.canonical_alias", "", event.pdu.content_as())?;
            add_if_allowed(self.add(old, "m.room.canonical_alias", "", json!({})))?;
        }
        Ok(())
    }

    fn add(&self, draft: &mut Draft<'_>, kind: &str, state_key: &str, content: Value) -> Result<(), Undecided> {
        draft.add(NewEvent::state(self.user.to_owned(), kind, state_key, content), None)?;
        Ok(())
    }
}

/// What is good to have, but no reason to give up the upgrade where the user may not do it.
fn add_if_allowed(added: Result<(), Undecided>) -> Result<(), Undecided> {
    match added {
        Err(Undecided::Refused(_)) => Ok(()),
        other => other,
    }
}

/// The old room, before its end.
struct Before {
    levels: PowerLevels,
    state: Vec<(StateEventType, String, Value)>,
}

impl Before {
    fn of(old: &Draft<'_>) -> Result<Self, Need> {
        let mut state = Vec::new();
        for kind in TRANSFERRED {
            if let Some(event) = old.state(&kind, "")? {
                state.push((kind, String::new(), event.pdu.content_as()));
            }
        }
        let create = old.state(&StateEventType::RoomCreate, "")?;
        if create.and_then(|create| create.pdu.content_str("type")).as_deref() == Some("m.space") {
            state.extend(children(old)?);
        }
        Ok(Self { levels: PowerLevels::of(old.view(), &old.room().version, old.current())?, state })
    }
}

/// The rooms of a space: without them it would be nothing.
fn children(old: &Draft<'_>) -> Result<Vec<(StateEventType, String, Value)>, Need> {
    let entries = old.current().entries(old.view())?.into_iter().filter(|entry| entry.kind == StateEventType::SpaceChild);
    let entries: Vec<_> = entries.collect();
    let events = old.view().events(entries.iter().map(|entry| entry.event))?;
    let children = entries.into_iter().zip(events).map(|(entry, event)| (entry.kind, entry.state_key, event.pdu.content_as()));
    Ok(children.filter(|(_, _, content): &(_, _, Value)| content.get("via").is_some()).collect())
}

/// The join rule, or the strictest where the new version has no such rule.
fn known_join_rule(content: &Value, version: &RoomVersion) -> Value {
    let rules = &version.rules.authorization;
    let is_known = match content.get("join_rule").and_then(Value::as_str) {
        Some("knock") => rules.knocking,
        Some("restricted") => rules.restricted_join_rule,
        Some("knock_restricted") => rules.knock_restricted_join_rule,
        _ => true,
    };
    if is_known { content.clone() } else { json!({ "join_rule": "invite" }) }
}
