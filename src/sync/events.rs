//! The original API's stream: events of all rooms, or of one that is looked into, one after the other. Deprecated, still specified.
//!
//! It tells events of rooms and nothing else, as its answers are specified: oldest first, and no more at once than a client can
//! take in. The next request goes on where the answer ends.

use std::rc::Rc;

use super::{
    handler::{MAX_TIMEOUT, read_token, token, wait_for_news},
    rooms::rooms_of,
    turns::turn,
    window::{Since, Window},
};
use crate::{
    arrange::Arrange,
    client_api::{Access, Call, Route, handler},
    client_event::{ClientEvent, RoomId, client_event},
    error::Error,
    filter::Filter,
    gather::Gather,
    http::{Method, Response},
    log::Output,
    ordered::OrderedMap,
    presence,
    room_server::{EventNumber, Position, Room, RoomNumber, View, commit::UserRoom},
    sections::Sections,
    server::Server,
    sight::Sight,
    visibility::is_world_readable,
};

pub(crate) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/client/{version}/events", access: Access::Token, handler: handler!(events) }];

/// The most events of one answer, so that an answer stays of a size that a client can take in.
const MAX_EVENTS: usize = 100;

/// So many entries of the log are looked through at a time; most of them may be none of the user's.
const MAX_ENTRIES: usize = 1_000;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>
async fn events(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let caller = call.caller()?;
    let deadline = server.now() + call.query_number("timeout")?.unwrap_or(0).min(MAX_TIMEOUT);
    let since = match call.query("from") {
        Some(from) => read_token(server, from)?,
        None => Since { position: server.log.end(), typing: server.typing.borrow().serial(), ..Since::default() },
    };
    let peeked = peeked(&call).await?;
    presence::note_sync(server, &caller.user, &caller.device, None, deadline).await?;
    let mut window = Window::new(caller, Some(since), Filter::default());
    let mut told = since.position;
    loop {
        turn(server).await;
        call.check_session(window.upto).await?;
        window.reach_now(server).await?;
        let streams = streams(server, &window, peeked.as_ref()).await?;
        let chunk = chunk(server, &window, &streams, told).await?;
        told = chunk.upto;
        let over = server.is_stopping() || server.now() >= deadline;
        let goes_on = chunk.events.is_empty() && !over;
        let rooms: Vec<_> = streams.keys().copied().collect();
        if goes_on && (told < window.upto || wait_for_news(server, &window, &rooms, deadline, &call.request.gone).await) {
            continue;
        }
        let mut body = Sections::of("chunk", &chunk.events);
        body.insert("start", &token(server, since));
        body.insert("end", &token(server, Since { position: told, typing: window.typing, ..since }));
        return Ok(Response::ok(&body));
    }
}

/// The room that is looked into without being joined.
async fn peeked(call: &Call) -> Result<Option<Rc<Room>>, Error> {
    let Some(id) = call.query("room_id") else { return Ok(None) };
    let id = ruma::RoomId::parse(id).map_err(|_| Error::invalid_param(format!("{id:?} is no room ID.")))?;
    let refusal = || Error::forbidden("You may not look into this room.");
    let room = call.server.rooms.room(&id).await?.ok_or_else(refusal)?;
    let current = room.head().current;
    let is_open = call.server.rooms.ask(&room, |view| is_world_readable(view, current)).await?;
    if is_open || Sight::of(&call.server, &room, call.user()?).await?.is_joined() { Ok(Some(room)) } else { Err(refusal()) }
}

/// A room whose events are told, and what the user is there.
struct Stream {
    room: Rc<Room>,
    membership: Option<UserRoom>,
}

/// The rooms whose events are told: those of the user, or the one that is looked into.
async fn streams(server: &Server, window: &Window, peeked: Option<&Rc<Room>>) -> Result<OrderedMap<RoomNumber, Stream>, Error> {
    if let Some(room) = peeked {
        let stream = Stream { room: Rc::clone(room), membership: None };
        return Ok([(room.number, stream)].into_iter().gather());
    }
    let rooms = rooms_of(server, &window.user).await?.into_iter().filter(|room| !room.membership.forgotten);
    Ok(rooms.map(|room| (room.room.number, Stream { room: room.room, membership: Some(room.membership) })).gather())
}

/// Events in the order of the log, and the position up to which these are all.
struct Chunk {
    events: Vec<ClientEvent>,
    upto: Position,
}

async fn chunk(server: &Server, window: &Window, streams: &OrderedMap<RoomNumber, Stream>, from: Position) -> Result<Chunk, Error> {
    let mut upto = window.upto.max(from);
    let mut found: OrderedMap<RoomNumber, Vec<EventNumber>> = OrderedMap::new();
    let (mut entries, mut events) = (0, 0);
    for (position, output) in server.log.read(Position(from.0 + 1), MAX_ENTRIES).await? {
        if position > window.upto {
            break;
        }
        if let Output::Event { room, event, .. } = output
            && streams.contains_key(&room)
        {
            found.entry(room).or_default().push(event);
            events += 1;
        }
        entries += 1;
        if events == MAX_EVENTS || entries == MAX_ENTRIES {
            upto = position;
            break;
        }
    }
    let mut told = Vec::new();
    for (room, numbers) in found {
        if let Some(stream) = streams.get(&room) {
            told.append(&mut stream.told(server, window, &numbers).await?);
        }
    }
    told.arrange_by_key(|(position, _)| *position);
    Ok(Chunk { events: told.into_iter().map(|(_, event)| event).collect(), upto })
}

impl Stream {
    /// Those of the events that the user is told of, with their positions.
    async fn told(&self, server: &Server, window: &Window, numbers: &[EventNumber]) -> Result<Vec<(Position, ClientEvent)>, Error> {
        let sight = Sight::of(server, &self.room, &window.user).await?.ignoring(server).await?;
        let question = |view: &View<'_>| {
            let mut told = Vec::new();
            for event in view.events(numbers.iter().copied())? {
                // What the user is in the room is for them to know, though the room may not be.
                let is_told = match self.membership.as_ref().filter(|membership| membership.event == event.number) {
                    Some(own) => own.membership != "invite" || !sight.ignores(&event.pdu.sender),
                    None => sight.sees(view, &event)?,
                };
                if is_told {
                    told.push((event.decided.position, client_event(view, &event, window.viewer(), RoomId::Named)?));
                }
            }
            Ok(told)
        };
        server.rooms.ask(&self.room, question).await
    }
}
