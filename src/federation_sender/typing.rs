//! Telling other servers who is typing: what has changed since it was told last, and to those that are there.

use std::rc::Rc;

use ruma::{OwnedUserId, UserId};

use super::{reader::load, transaction::room_of_number};
use crate::{
    error::Error,
    gather::Gather,
    ordered::OrderedMap,
    room_server::{Position, RoomNumber},
    server::Server,
};

/// Who goes on typing is said to do so again this often, in milliseconds: others forget it after a minute.
const REPEATED_EVERY_MILLIS: u64 = 40_000;

/// Which local users others think to be typing, and since when they were told so.
#[derive(Default)]
pub(crate) struct TypingTold {
    told: OrderedMap<(RoomNumber, OwnedUserId), u64>,
    /// When the next of them stops by itself.
    next_end: Option<u64>,
}

impl TypingTold {
    /// When something is to be told next.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let next_repetition = self.told.values().min().map(|told| told + REPEATED_EVERY_MILLIS);
        next_repetition.into_iter().chain(self.next_end).min()
    }

    /// Compares with who is typing now: until when, by room and user. Returns what is to be told.
    fn compare(&mut self, typing: &OrderedMap<(RoomNumber, OwnedUserId), u64>, now: u64) -> Vec<((RoomNumber, OwnedUserId), bool)> {
        let mut changes: Vec<_> = self.told.keys().filter(|who| !typing.contains_key(*who)).map(|who| (who.clone(), false)).collect();
        self.told.retain(|who, _| typing.contains_key(who));
        for who in typing.keys() {
            let told = self.told.get(who).copied();
            if told.is_none_or(|told| told + REPEATED_EVERY_MILLIS <= now) {
                self.told.insert(who.clone(), now);
                changes.push((who.clone(), true));
            }
        }
        self.next_end = typing.values().min().copied();
        changes
    }
}

/// Notes for the servers of each room who has begun or ceased to type there.
pub(super) async fn note(server: &Server) -> Result<(), Error> {
    let (sender, now) = (&server.federation_sender, server.now());
    let is_local = |user: &UserId| user.server_name() == server.identity.server_name();
    let typing: OrderedMap<_, _> = {
        let typing = server.typing.borrow();
        let own = typing.all().filter(|(_, user, until)| is_local(user) && *until > now);
        own.map(|(room, user, until)| ((room, user.clone()), until)).gather()
    };
    let changes = sender.typing.borrow_mut().compare(&typing, now);
    for ((number, user), is_typing) in changes {
        load(server, number).await?;
        let names = sender.room_servers.borrow().at(number, Position(u64::MAX));
        let Some(room) = room_of_number(server, number).await?.filter(|_| !names.is_empty()) else { continue };
        for name in names {
            let who = (Rc::clone(&room).id.clone(), user.clone());
            let add = |destination: &mut super::Destination| {
                if destination.is_there() {
                    destination.note(|notes| notes.typing.extend([(who, is_typing)]));
                }
            };
            sender.with(&name, add);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(until: u64) -> OrderedMap<(RoomNumber, OwnedUserId), u64> {
        OrderedMap::from([((RoomNumber(1), UserId::parse("@a:example.org").unwrap()), until)])
    }

    fn told(machine: &mut TypingTold, typing: &OrderedMap<(RoomNumber, OwnedUserId), u64>, now: u64) -> Vec<bool> {
        machine.compare(typing, now).into_iter().map(|(_, typing)| typing).collect()
    }

    #[test]
    fn the_beginning_and_the_end_are_told_once() {
        let mut machine = TypingTold::default();
        assert_eq!(told(&mut machine, &typing(30_000), 0), [true]);
        assert!(told(&mut machine, &typing(30_000), 10).is_empty());
        assert_eq!(machine.deadline(), Some(30_000));
        assert_eq!(told(&mut machine, &OrderedMap::new(), 30_000), [false]);
        assert_eq!((told(&mut machine, &OrderedMap::new(), 30_001), machine.deadline()), (vec![], None));
    }

    #[test]
    fn who_goes_on_is_told_again() {
        let mut machine = TypingTold::default();
        machine.compare(&typing(100_000), 0);
        assert_eq!(machine.deadline(), Some(REPEATED_EVERY_MILLIS));
        assert_eq!(told(&mut machine, &typing(100_000), REPEATED_EVERY_MILLIS), [true]);
    }
}
