//! Which servers were in which room over which part of the log: folded from what the log says of each event, so that nobody
//! has to look at a room's members to know where its events go.
//!
//! A server is in a room while a user of its own is joined in the current state. Servers that are in a room now stand apart
//! from those that have left, so that the work for a new event follows the servers that get it.

use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    ordered::{OrderedMap, OrderedSet},
    parse,
    ports::Store,
    room_server::{Position, RoomNumber},
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// A server's times in a room, as its row holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stays {
    /// How many of its users are joined.
    #[serde(rename = "n")]
    joined: i64,
    /// Where the present stay began.
    #[serde(rename = "s")]
    since: Position,
    /// Where earlier stays began and ended.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<(Position, Position)>,
}

impl Stays {
    /// Whether the server was in the room just before this position. The event that ended a stay still reaches it.
    fn include(&self, position: Position) -> bool {
        let is_now = self.joined > 0 && self.since < position;
        is_now || self.past.iter().any(|(from, upto)| *from < position && position <= *upto)
    }

    fn change(&mut self, position: Position, more: i64) {
        let was_in = self.joined > 0;
        self.joined += more;
        match (was_in, self.joined > 0) {
            (false, true) => self.since = position,
            (true, false) => self.past.push((self.since, position)),
            _ => {}
        }
    }
}

#[derive(Default)]
struct RoomOfServers {
    present: OrderedMap<OwnedServerName, Stays>,
    gone: OrderedMap<OwnedServerName, Stays>,
    /// Where a server left last: behind it, those that are gone need not be looked at.
    last_departure: Position,
}

/// The index, of the rooms that were asked for since the start.
#[derive(Default)]
pub(crate) struct RoomServers {
    rooms: OrderedMap<RoomNumber, RoomOfServers>,
    changed: OrderedSet<(RoomNumber, OwnedServerName)>,
}

impl RoomServers {
    /// Whether the room's servers are in memory.
    pub(crate) fn has(&self, room: RoomNumber) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Takes rows that [`read`] found; what is in memory already is newer.
    pub(crate) fn load(&mut self, rows: RoomRows) {
        let RoomRows { room, rows } = rows;
        self.rooms.entry(room).or_insert_with(|| {
            let mut servers = RoomOfServers::default();
            for (server, stays) in rows {
                servers.put(server, stays);
            }
            servers
        });
    }

    /// Servers' users joined or left at this position. The room must have been loaded.
    pub(crate) fn change(&mut self, room: RoomNumber, position: Position, joined: &OrderedMap<OwnedServerName, i64>) {
        let servers = self.rooms.entry(room).or_default();
        for (server, more) in joined {
            let mut stays = servers.take(server);
            stays.change(position, *more);
            servers.put(server.clone(), stays);
            self.changed.insert((room, server.clone()));
        }
    }

    /// The servers that were in the room just before this position.
    pub(crate) fn at(&self, room: RoomNumber, position: Position) -> Vec<OwnedServerName> {
        let Some(servers) = self.rooms.get(&room) else { return Vec::new() };
        let gone = servers.gone.iter().take_while(|_| position <= servers.last_departure);
        let found = servers.present.iter().chain(gone).filter(|(_, stays)| stays.include(position));
        found.map(|(server, _)| server.clone()).collect()
    }

    /// Whether this server was in the room just before this position.
    pub(crate) fn was_in(&self, room: RoomNumber, server: &ServerName, position: Position) -> bool {
        let stays = self.rooms.get(&room).and_then(|servers| servers.present.get(server).or_else(|| servers.gone.get(server)));
        stays.is_some_and(|stays| stays.include(position))
    }

    /// Adds the rows that have changed.
    pub(crate) fn write(&self, batch: &mut Batch) {
        for (room, server) in &self.changed {
            let servers = self.rooms.get(room);
            let stays = servers.and_then(|servers| servers.present.get(server).or_else(|| servers.gone.get(server)));
            if let Some(stays) = stays {
                batch.put_json(Key::new(Table::RoomServers).number(room.0).text(server.as_str()), stays);
            }
        }
    }

    /// What [`RoomServers::write`] added is committed.
    pub(crate) fn is_written(&mut self) {
        self.changed.clear();
    }
}

impl RoomOfServers {
    fn take(&mut self, server: &ServerName) -> Stays {
        self.present.remove(server).or_else(|| self.gone.remove(server)).unwrap_or_default()
    }

    fn put(&mut self, server: OwnedServerName, stays: Stays) {
        self.last_departure = stays.past.last().map_or(self.last_departure, |(_, end)| self.last_departure.max(*end));
        let place = if stays.joined > 0 { &mut self.present } else { &mut self.gone };
        place.insert(server, stays);
    }
}

/// A room's rows.
pub(crate) struct RoomRows {
    room: RoomNumber,
    rows: Vec<(OwnedServerName, Stays)>,
}

/// Reads a room's rows.
pub(crate) async fn read(store: &dyn Store, room: RoomNumber) -> Result<RoomRows, Error> {
    let found = store.scan(&Scan::prefix(Key::new(Table::RoomServers).number(room.0))).await?;
    let row = |row: &crate::storage::Row| {
        let mut key = KeyReader::new(&row.key);
        key.number()?;
        Some((ServerName::parse(key.text()?).ok()?, parse::json(&row.value).ok()?))
    };
    let rows = found.iter().map(|found| row(found).ok_or_else(|| Error::bug("a stored row of a room's servers")));
    Ok(RoomRows { room, rows: rows.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::MemoryStore;

    const ROOM: RoomNumber = RoomNumber(3);

    fn server(number: u64) -> OwnedServerName {
        ServerName::parse(format!("s{number}.example")).unwrap()
    }

    fn loaded(store: &MemoryStore) -> RoomServers {
        let mut servers = RoomServers::default();
        servers.load(block_on(read(store, ROOM)).unwrap());
        servers
    }

    #[test]
    fn a_stay_begins_behind_the_join_and_ends_with_the_departure() {
        let mut servers = loaded(&MemoryStore::new());
        servers.change(ROOM, Position(5), &[(server(1), 1)].into());
        servers.change(ROOM, Position(7), &[(server(1), 1)].into());
        servers.change(ROOM, Position(8), &[(server(1), -1)].into());
        servers.change(ROOM, Position(9), &[(server(1), -1)].into());
        servers.change(ROOM, Position(12), &[(server(1), 1)].into());
        let there: Vec<_> = (1..=15).filter(|position| servers.was_in(ROOM, &server(1), Position(*position))).collect();
        assert_eq!(there, [6, 7, 8, 9, 13, 14, 15]);
    }

    proptest! {
        /// Against a model that remembers the members after each position, with a restart from the rows somewhere between.
        #[test]
        fn stays_are_what_members_were(changes in proptest::collection::vec((0_u64..3, proptest::bool::ANY), 1..40), restart in 0_usize..40) {
            let store = MemoryStore::new();
            let mut servers = loaded(&store);
            let mut members = [0_i64; 3];
            let mut history = vec![members];
            for (at, (number, joins)) in changes.into_iter().enumerate() {
                let position = Position(at as u64 + 1);
                let count = &mut members[usize::try_from(number).unwrap()];
                let more = if joins { 1 } else { -i64::from(*count > 0) };
                *count += more;
                servers.change(ROOM, position, &[(server(number), more)].into());
                history.push(members);
                if at == restart {
                    let mut batch = Batch::new();
                    servers.write(&mut batch);
                    block_on(crate::ports::Store::commit(&store, batch)).unwrap();
                    servers = loaded(&store);
                }
            }
            for (position, members) in (1_u64..).zip(&history) {
                let expected: Vec<_> = (0..3).filter(|number| members[usize::try_from(*number).unwrap()] > 0).map(server).collect();
                let mut found = servers.at(ROOM, Position(position));
                found.sort();
                prop_assert_eq!(&found, &expected);
                for number in 0..3 {
                    prop_assert_eq!(servers.was_in(ROOM, &server(number), Position(position)), expected.contains(&server(number)));
                }
            }
        }
    }
}
