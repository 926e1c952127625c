//! Who is asked for what is missing: servers that are likely to have it, and that have answered so far.

use std::{cell::RefCell, collections::BTreeSet};

use ruma::{OwnedServerName, ServerName};

use crate::{arrange::Arrange, error::Error, federation::is_away, room_server::Room, server::Server};

/// So many servers are asked for one thing at most.
const MAX_HELPERS: usize = 5;

/// The servers that are asked while one gap is closed.
pub(super) struct Helpers {
    own_name: OwnedServerName,
    names: Vec<OwnedServerName>,
    away: RefCell<BTreeSet<OwnedServerName>>,
}

impl Helpers {
    /// The server that sent the events, and then those in the room, the ones with the most members first.
    pub(super) async fn of(server: &Server, room: &Room, origin: &ServerName) -> Result<Self, Error> {
        let residents = server.rooms.residents(room).await?;
        let mut others: Vec<_> = residents.iter().filter(|(name, _)| *name != origin).collect();
        others.arrange_by_key(|(_, members)| std::cmp::Reverse(**members));
        let names = [origin.to_owned()].into_iter().chain(others.into_iter().map(|(name, _)| name.clone()));
        let own_name = server.identity.server_name().clone();
        let names = names.filter(|name| *name != own_name).take(MAX_HELPERS).collect();
        Ok(Self { own_name, names, away: RefCell::default() })
    }

    /// Those that have not been found to be away.
    pub(super) fn present(&self) -> Vec<OwnedServerName> {
        self.names.iter().filter(|name| !self.is_away(name)).cloned().collect()
    }

    /// The same with this one first.
    pub(super) fn present_beginning_with(&self, first: &ServerName) -> Vec<OwnedServerName> {
        let first = Some(first.to_owned()).filter(|first| *first != self.own_name && !self.is_away(first));
        let others = self.present().into_iter().filter(|name| Some(name) != first.as_ref());
        first.iter().cloned().chain(others).collect()
    }

    /// Whether none but this one can be asked, now or later.
    pub(super) fn are_only(&self, name: &ServerName) -> bool {
        self.names.iter().all(|other| other == name)
    }

    /// The answer, if there is one; a server that gave none because it is away is asked no more.
    pub(super) fn heard<T>(&self, name: &ServerName, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error @ (Error::Storage(_) | Error::Bug(_))) => Err(error),
            Err(error) => {
                if is_away(&error) {
                    self.away.borrow_mut().insert(name.to_owned());
                }
                Ok(None)
            }
        }
    }

    fn is_away(&self, name: &ServerName) -> bool {
        self.away.borrow().contains(name)
    }
}
