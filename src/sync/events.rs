//! The original API's stream: events of all rooms, or of one that is looked into, one after the other. Deprecated, still specified.

use std::rc::Rc;

use super::{
    handler::{MAX_TIMEOUT, read_token, token, wait_for_news},
    initial::named,
    rooms::rooms_of,
    timeline::{self, Range},
    window::{Since, StateSection, Window},
};
use crate::{
    arrange::Arrange,
    client_api::{Access, Call, Route, handler},
    client_event::ClientEvent,
    error::Error,
    filter::Filter,
    http::{Method, Response},
    presence,
    room_server::{Room, RoomNumber},
    sections::Sections,
    server::Server,
    visibility::is_world_readable,
};

pub(crate) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/client/{version}/events", access: Access::Token, handler: handler!(events) }];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>
async fn events(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let caller = call.caller()?;
    let now = server.now();
    let deadline = now + call.query_number("timeout")?.unwrap_or(0).min(MAX_TIMEOUT);
    let since = match call.query("from") {
        Some(from) => read_token(server, from)?,
        None => Since { position: server.log.end(), typing: server.typing.borrow().serial(), ..Since::default() },
    };
    let room = peeked(&call).await?;
    presence::note_sync(server, &caller.user, &caller.device, None, deadline).await?;
    let mut filter = Filter::default();
    filter.room.timeline.limit = Some(usize::MAX);
    let mut window = Window {
        user: caller.user.clone(),
        device: caller.device.clone(),
        since: Some(since),
        upto: server.log.end(),
        now,
        full_state: false,
        state: StateSection::Before,
        filter,
    };
    loop {
        let (chunk, rooms) = chunk(server, &window, room.as_ref()).await?;
        if !chunk.is_empty() || !wait_for_news(server, &window, &rooms, deadline, &call.request.gone).await {
            let start = token(server, since);
            let end = token(server, Since { position: window.upto, typing: server.typing.borrow().serial(), ..since });
            let mut body = Sections::of("chunk", &chunk);
            body.insert("start", &start);
            body.insert("end", &end);
            return Ok(Response::ok(&body));
        }
        window.upto = server.log.end();
        window.now = server.now();
    }
}

/// The room that is looked into without being joined.
async fn peeked(call: &Call) -> Result<Option<Rc<Room>>, Error> {
    let Some(id) = call.query("room_id") else { return Ok(None) };
    let id = ruma::RoomId::parse(id).map_err(|_| Error::invalid_param(format!("{id:?} is no room ID.")))?;
    let refusal = || Error::forbidden("You may not look into this room.");
    let room = call.server.rooms.room(&id).await?.ok_or_else(refusal)?;
    let (current, user) = (room.head().current, call.user()?);
    let may_look = call.server.rooms.ask(&room, |view| {
        let member = current.event(view, &ruma::events::StateEventType::RoomMember, user.as_str())?;
        let member = member.map(|number| view.event(number)).transpose()?;
        let is_joined = member.and_then(|event| event.pdu.content_str("membership")).as_deref() == Some("join");
        Ok(is_joined || is_world_readable(view, current)?)
    });
    if may_look.await? { Ok(Some(room)) } else { Err(refusal()) }
}

/// New events of the rooms, and the rooms.
async fn chunk(server: &Rc<Server>, window: &Window, peeked: Option<&Rc<Room>>) -> Result<(Vec<ClientEvent>, Vec<RoomNumber>), Error> {
    let rooms = match peeked {
        Some(room) => vec![Rc::clone(room)],
        None => rooms_of(server, &window.user)
            .await?
            .into_iter()
            .filter(|room| room.membership.membership == "join")
            .map(|room| room.room)
            .collect(),
    };
    let mut found = Vec::new();
    for room in &rooms {
        if room.head().position <= window.start() {
            continue;
        }
        let range = Range { from: window.start(), upto: window.upto, joined_since: true };
        let timeline = timeline::read(server, room, window, range).await?;
        let values = named(server, window, room, &timeline.events).await?;
        found.extend(timeline.events.iter().map(|event| event.decided.position).zip(values));
    }
    found.arrange_by_key(|(position, _)| *position);
    Ok((found.into_iter().map(|(_, event)| event).collect(), rooms.iter().map(|room| room.number).collect()))
}
