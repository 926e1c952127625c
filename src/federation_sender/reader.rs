//! Following the log: once for all destinations that lack nothing, and for each other from its own place.

use std::rc::Rc;

use ruma::ServerName;

use super::{
    audience::Audience,
    destination::{Destination, Item},
    room_servers,
};
use crate::{
    error::Error,
    keys::remote::follow,
    log::Output,
    room_server::{Position, RoomNumber},
    server::Server,
};

/// So many entries are read at a time.
const CHUNK: usize = 256;

/// So many chunks are read for one destination before others have their turn.
const CHUNKS_IN_A_TURN: usize = 4;

/// Reads the next entries, and adds them to what waits for those that are to be told. Returns whether there were any.
pub(super) async fn read_on(server: &Server) -> Result<bool, Error> {
    let sender = &server.federation_sender;
    let next = Position(sender.read_upto.get().0 + 1);
    if next > server.log.end() {
        return Ok(false);
    }
    let end = server.log.end();
    let entries = server.log.read(next, CHUNK).await?;
    let upto = if entries.len() < CHUNK { end } else { entries.last().map_or(end, |(position, _)| *position) };
    for (position, output) in entries {
        take(server, position, output).await?;
        sender.read_upto.set(position);
    }
    // Positions at the end may have been given out and not used.
    sender.read_upto.set(upto.max(sender.read_upto.get()));
    Ok(true)
}

async fn take(server: &Server, position: Position, output: Output) -> Result<(), Error> {
    let sender = &server.federation_sender;
    let audience = Audience::of(server, &output).await?;
    let joined = if let Output::Event { room, federated, .. } = &output { Some((*room, federated)) } else { None };
    let joined = joined.filter(|(_, federated)| !federated.joined.is_empty());
    if let Some((room, _)) = &joined {
        load(server, *room).await?;
    }
    let servers = audience.servers(&sender.room_servers.borrow(), position);
    if let Some((room, federated)) = joined
        && position > sender.indexed_upto.get()
    {
        sender.room_servers.borrow_mut().change(room, position, &federated.joined);
    }
    sender.indexed_upto.set(position.max(sender.indexed_upto.get()));
    // Nothing else that is wrong with somebody's devices may keep others from being told.
    if let Err(error @ Error::Storage(_)) = follow(server, &output).await {
        return Err(error);
    }
    let item = (position, Rc::new(output));
    let mut destinations = sender.destinations.borrow_mut();
    for name in servers.into_iter().filter(|name| name != server.identity.server_name()) {
        destinations.entry(name).or_insert_with(|| Destination::current_at(Position(position.0 - 1))).push(&item);
    }
    Ok(())
}

/// Reads the log for a destination that is behind, from its own place on.
pub(super) async fn catch_up(server: &Server, name: &ServerName) -> Result<(), Error> {
    let sender = &server.federation_sender;
    let wanted = sender.with(name, |destination| destination.wants_reading()).flatten();
    let Some(mut after) = wanted else { return Ok(()) };
    for _ in 0..CHUNKS_IN_A_TURN {
        let (items, upto) = read_for(server, name, after, sender.read_upto.get(), CHUNK).await?;
        // No await from here on: the reader of all must not go on between the check and the promise.
        let is_all = upto == sender.read_upto.get();
        let is_some = !items.is_empty();
        sender.with(name, |destination| destination.collect(items, upto, is_all));
        if is_all || is_some {
            break;
        }
        after = upto;
    }
    Ok(())
}

/// What a destination may see behind a position, in the next so many entries up to another position; and how far that goes.
pub(super) async fn read_for(
    server: &Server,
    name: &ServerName,
    after: Position,
    upto: Position,
    limit: usize,
) -> Result<(Vec<Item>, Position), Error> {
    let entries = server.log.read(Position(after.0 + 1), limit).await?;
    let end = if entries.len() < limit { upto } else { entries.last().map_or(upto, |(position, _)| *position).min(upto) };
    let mut items = Vec::new();
    for (position, output) in entries.into_iter().filter(|(position, _)| *position <= upto) {
        let audience = Audience::of(server, &output).await?;
        if audience.includes(&server.federation_sender.room_servers.borrow(), name, position) {
            items.push((position, Rc::new(output)));
        }
    }
    Ok((items, end))
}

/// Brings the servers of a room into memory.
pub(super) async fn load(server: &Server, room: RoomNumber) -> Result<(), Error> {
    if server.federation_sender.room_servers.borrow().has(room) {
        return Ok(());
    }
    let rows = room_servers::read(&*server.ports.store, room).await?;
    server.federation_sender.room_servers.borrow_mut().load(rows);
    Ok(())
}
