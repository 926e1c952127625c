//! Who is typing where: known in memory only, since it is worth nothing a minute later.

use ruma::OwnedUserId;

use crate::{ordered::OrderedMap, room_server::RoomNumber};

/// Who is typing. Each change has a serial number, so that a reader knows what it has not seen.
#[derive(Default)]
pub(crate) struct Typing {
    rooms: OrderedMap<RoomNumber, TypingRoom>,
    serial: u64,
}

#[derive(Default)]
struct TypingRoom {
    /// Until when, in milliseconds since the Unix epoch.
    users: OrderedMap<OwnedUserId, u64>,
    serial: u64,
}

impl Typing {
    /// Somebody types until `until`, or stops with `None`. Returns whether that changes what others see.
    pub(crate) fn set(&mut self, room: RoomNumber, user: OwnedUserId, until: Option<u64>) -> bool {
        let entry = self.rooms.entry(room).or_default();
        let changed = match until {
            Some(until) => entry.users.insert(user, until).is_none(),
            None => entry.users.remove(&user).is_some(),
        };
        if changed {
            self.serial += 1;
            entry.serial = self.serial;
        }
        changed
    }

    /// Removes those whose time is over. Returns whether that changes what others see.
    pub(crate) fn expire(&mut self, now: u64) -> bool {
        let mut changed = false;
        for room in self.rooms.values_mut() {
            let before = room.users.len();
            room.users.retain(|_, until| *until > now);
            if room.users.len() != before {
                self.serial += 1;
                room.serial = self.serial;
                changed = true;
            }
        }
        changed
    }

    /// When somebody's time will be over next, in milliseconds since the Unix epoch.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.rooms.values().flat_map(|room| room.users.values()).min().copied()
    }

    /// Everybody who types, and until when.
    pub(crate) fn all(&self) -> impl Iterator<Item = (RoomNumber, &OwnedUserId, u64)> {
        self.rooms.iter().flat_map(|(room, typing)| typing.users.iter().map(|(user, until)| (*room, user, *until)))
    }

    /// The serial number of the last change anywhere.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// The users typing in a room, if that has changed after the serial number `since`.
    pub(crate) fn changed_since(&self, room: RoomNumber, since: u64) -> Option<Vec<OwnedUserId>> {
        let room = self.rooms.get(&room).filter(|room| room.serial > since)?;
        Some(room.users.keys().cloned().collect())
    }
}
