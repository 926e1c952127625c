//! `GET /sync`: reads the request, waits for news if there are none, and puts the parts together.

use std::{pin::pin, rc::Rc};

use futures_util::future::{Either, select, try_join, try_join_all};
use ruma::OwnedRoomId;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    beside::Beside,
    device_lists,
    joined::joined_room,
    left::{invited_room, left_room, stripped_state},
    rooms::{RoomOfUser, rooms_of},
    turns::turn,
    window::{Since, StateSection, Window},
};
use crate::{
    account_data::{self, ChangedAccountData},
    client_api::{Access, Call, Route, handler},
    error::Error,
    filter::Filter,
    http::{Gone, Method, Response},
    log::Output,
    ordered::OrderedMap,
    presence::{self, State},
    room_server::RoomNumber,
    sections::Sections,
    server::Server,
    to_device,
    tokens::StreamToken,
};

pub(crate) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/client/{version}/sync", access: Access::Token, handler: handler!(sync) }];

/// A poll is held no longer than this, in milliseconds. A service worker lives 30 s behind the start of its last event, so
/// that each poll is answered, and the next one begun, within its life.
pub(crate) const MAX_TIMEOUT: u64 = 25_000;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
async fn sync(call: Call) -> Result<Response, Error> {
    let server = Rc::clone(&call.server);
    let timeout = call.query_number("timeout")?.unwrap_or(0).min(MAX_TIMEOUT);
    let since = call.query("since").map(|token| read_token(&server, token)).transpose()?;
    let full_state = call.query_bool("full_state")?.unwrap_or(false);
    let (caller, filter) = (call.caller()?, filter(&call).await?);
    let deadline = server.now() + timeout;
    presence::note_sync(&server, &caller.user, &caller.device, set_presence(&call)?, deadline).await?;
    if let Some(since) = since {
        to_device::forget_delivered(&server, &caller.user, &caller.device, since.to_device).await?;
    }
    let mut window = Window { full_state, state: state_section(&call)?, ..Window::new(caller, since, filter) };
    loop {
        turn(&server).await;
        call.check_session(window.upto).await?;
        window.reach_now(&server).await?;
        let (news, is_empty, rooms) = answer(&server, &window).await?;
        let over = window.since.is_none() || full_state || server.is_stopping() || server.now() >= deadline;
        if !is_empty || over || !wait_for_news(&server, &window, &rooms, deadline, &call.request.gone).await {
            return Ok(Response::ok(&news));
        }
    }
}

fn state_section(call: &Call) -> Result<StateSection, Error> {
    if call.query_bool("use_state_after")?.unwrap_or(false) {
        return Ok(StateSection::After);
    }
    let unstable = call.query_bool("org.matrix.msc4222.use_state_after")?.unwrap_or(false);
    Ok(if unstable { StateSection::AfterUnstable } else { StateSection::Before })
}

/// How the client wants its user to seem while it syncs.
fn set_presence(call: &Call) -> Result<Option<State>, Error> {
    let state = |name: &str| State::parse(name).ok_or_else(|| Error::invalid_param(format!("{name:?} is no presence.")));
    call.query("set_presence").map(state).transpose()
}

/// Where a client stands by its token.
pub(crate) fn read_token(server: &Server, token: &str) -> Result<Since, Error> {
    let token = StreamToken::parse(token).filter(|token| token.incarnation == server.identity.incarnation());
    let token = token.ok_or_else(|| Error::invalid_param("This token is not of this server; sync anew without it."))?;
    if token.boot == server.boot {
        let end = server.log.end();
        return Ok(Since { position: token.position.min(end), typing: token.typing, to_device: token.to_device.min(end) });
    }
    // Who types was forgotten with the last start, and is told anew.
    let end = server.log.opened_at();
    Ok(Since { position: token.position.min(end), typing: 0, to_device: token.to_device.min(end) })
}

/// The token of a client that has seen the log up to here.
pub(crate) fn token(server: &Server, seen: Since) -> String {
    let Since { position, typing, to_device } = seen;
    StreamToken { position, typing, to_device, boot: server.boot.clone(), incarnation: server.identity.incarnation().to_owned() }
        .to_string()
}

async fn filter(call: &Call) -> Result<Filter, Error> {
    let Some(text) = call.query("filter") else { return Ok(Filter::default()) };
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| Error::invalid_param(format!("The filter is not of the right shape: {error}.")));
    }
    let stored = crate::client_api::filters::read(&call.server, call.user()?, text).await?;
    serde_json::from_value(stored).map_err(|error| Error::bug(format!("a stored filter: {error}")))
}

/// Waits until something that matters happens; `false` when there is no time left, the server stops, or the client is gone.
pub(super) async fn wait_for_news(server: &Server, window: &Window, rooms: &[RoomNumber], deadline: u64, gone: &Gone) -> bool {
    loop {
        let (changed, left) = (pin!(server.log.changed()), pin!(gone.told()));
        if has_news(server, window, rooms) {
            return true;
        }
        let now = server.now();
        if server.is_stopping() || now >= deadline || gone.is_told() {
            return false;
        }
        let changes = server.typing.borrow().next_expiry().into_iter().chain(server.presence.next_change(now));
        let next = changes.chain([deadline]).min().unwrap_or(deadline);
        if let Either::Right(_) = select(select(changed, left), server.ports.clock.sleep(next.saturating_sub(now).max(1))).await {
            server.typing.borrow_mut().expire(server.now());
            if presence::refresh(server).await.is_err() {
                return false;
            }
        }
    }
}

fn has_news(server: &Server, window: &Window, rooms: &[RoomNumber]) -> bool {
    let typing = server.typing.borrow();
    if typing.serial() > window.typing && rooms.iter().any(|room| typing.changed_since(*room, window.typing).is_some()) {
        return true;
    }
    server.log.any_since(window.upto, |output| match output {
        Output::Event { room, users, .. } => users.contains(&window.user) || rooms.contains(room),
        Output::Receipt { room, user, private } => (!private || *user == window.user) && rooms.contains(room),
        Output::AccountData { user, .. } => *user == window.user,
        Output::Presence { .. } => true,
        Output::ToDevice { user, device } => *user == window.user && *device == window.device,
        // Whether it concerns this user is found by looking.
        output if device_lists::is_change(output) => true,
        _ => false,
    })
}

/// The answer for one window, whether there is nothing new in it, and the rooms that the user is joined to.
async fn answer(server: &Rc<Server>, window: &Window) -> Result<(Sections, bool, Vec<RoomNumber>), Error> {
    let (data, rooms) = try_join(account_data(server, window), rooms_of(server, &window.user)).await?;
    let beside = Beside::read(server, window, &rooms).await?;
    let rooms: Vec<_> = rooms.into_iter().filter(|room| window.filter.room.allows_room(room.room.id.as_str())).collect();
    let joined = rooms.iter().filter(|room| room.membership.membership == "join").map(|room| room.room.number).collect();
    let part = |room| part(server, window, room, data.rooms.get(&room.room.id).map(Vec::as_slice).unwrap_or_default());
    // All rooms at once: most of the time goes by while the store looks up.
    let parts = try_join_all(rooms.iter().map(part)).await?;
    let mut by_membership = RoomsByMembership::default();
    for (room, part) in rooms.iter().zip(parts) {
        if let (Some(part), Some(section)) = (part, by_membership.of(&room.membership.membership)) {
            section.insert(room.room.id.as_str(), &part);
        }
    }
    let is_empty = by_membership.is_empty() && data.global.is_empty() && beside.is_empty();
    let mut answer = Sections::default();
    answer.insert("next_batch", &token(server, Since { position: window.upto, typing: window.typing, to_device: beside.to_device_upto() }));
    answer.insert("account_data", &json!({ "events": data.global }));
    answer.insert("rooms", &by_membership);
    beside.add_to(&mut answer);
    Ok((answer, is_empty, joined))
}

/// The rooms of an answer by what the user is there.
#[derive(Default, Serialize)]
struct RoomsByMembership {
    join: Sections,
    invite: Sections,
    knock: Sections,
    leave: Sections,
}

/// What a sync tells of one room, if anything.
async fn part(server: &Rc<Server>, window: &Window, room: &RoomOfUser, data: &[ChangedAccountData]) -> Result<Option<Sections>, Error> {
    let is_new = window.since.is_none() || room.membership.position > window.start();
    match room.membership.membership.as_str() {
        "join" => joined_room(server, window, room, data).await,
        "invite" if is_new => invited_room(server, window, room).await,
        "knock" if is_new => Ok(Some(Sections::of("knock_state", &json!({ "events": stripped_state(server, room).await? })))),
        "leave" | "ban" if is_new && !room.membership.forgotten && (window.since.is_some() || window.filter.room.include_leave) => {
            Ok(Some(left_room(server, window, room).await?))
        }
        _ => Ok(None),
    }
}

impl RoomsByMembership {
    /// The section for rooms where the user is this.
    fn of(&mut self, membership: &str) -> Option<&mut Sections> {
        match membership {
            "join" => Some(&mut self.join),
            "invite" => Some(&mut self.invite),
            "knock" => Some(&mut self.knock),
            "leave" | "ban" => Some(&mut self.leave),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.join.is_empty() && self.invite.is_empty() && self.knock.is_empty() && self.leave.is_empty()
    }
}

/// Account data that the client has not seen.
struct NewAccountData {
    global: Vec<Value>,
    rooms: OrderedMap<OwnedRoomId, Vec<ChangedAccountData>>,
}

async fn account_data(server: &Server, window: &Window) -> Result<NewAccountData, Error> {
    let is_users = |output: &Output| matches!(output, Output::AccountData { user, .. } if *user == window.user);
    let changed = match window.since {
        Some(since) if !server.log.any_since(since.position, is_users) => Vec::new(),
        Some(since) => account_data::changed_since(server, &window.user, since.position, window.upto).await?,
        None => account_data::all(server, &window.user).await?,
    };
    let filter = &window.filter.account_data;
    let mut data = NewAccountData { global: Vec::new(), rooms: OrderedMap::new() };
    for entry in changed {
        match &entry.room {
            Some(room) => data.rooms.entry(room.clone()).or_default().push(entry),
            None if filter.allows_type(&entry.kind) => data.global.push(json!({ "type": entry.kind, "content": entry.content })),
            None => {}
        }
    }
    data.global.truncate(filter.most());
    Ok(data)
}
