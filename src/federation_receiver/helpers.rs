//! Who is asked for what is missing: servers that are likely to have it, and that have answered so far.

use std::{cell::RefCell, rc::Rc};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use ruma::{OwnedServerName, ServerName};

use crate::{
    arrange::Arrange,
    error::Error,
    federation::is_away,
    ordered::OrderedSet,
    ports::{Clock, TransportError},
    room_server::Room,
    server::Server,
};

/// So many servers are asked for one thing at most.
const MAX_HELPERS: usize = 5;

/// For so long they are asked in one attempt, in milliseconds: whoever has it tells it sooner, and others' gaps wait for their turn.
const PATIENCE_MILLIS: u64 = 120_000;

/// The servers that are asked while one gap is closed.
pub(super) struct Helpers {
    own_name: OwnedServerName,
    names: Vec<OwnedServerName>,
    away: RefCell<OrderedSet<OwnedServerName>>,
    clock: Rc<dyn Clock>,
    until: u64,
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
        let clock = Rc::clone(&server.ports.clock);
        Ok(Self { own_name, names, away: RefCell::default(), until: clock.now() + PATIENCE_MILLIS, clock })
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

    /// The same with this one last.
    pub(super) fn present_ending_with(&self, last: &ServerName) -> Vec<OwnedServerName> {
        let mut names = self.present();
        names.arrange_by_key(|name| *name == *last);
        names
    }

    /// Whether none but this one can be asked, now or later.
    pub(super) fn are_only(&self, name: &ServerName) -> bool {
        self.names.iter().all(|other| other == name)
    }

    /// What a server is asked, as long as there is time. It may be given up anywhere: it must write nothing.
    pub(super) async fn ask<T>(&self, name: &ServerName, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let time = self.until.saturating_sub(self.clock.now());
        if time > 0
            && let Either::Left((answer, _)) = select(asking.boxed_local(), self.clock.sleep(time)).await
        {
            return answer;
        }
        Err(TransportError::TimedOut(name.to_string()).into())
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

    /// Nobody is there any more when the time is up.
    fn is_away(&self, name: &ServerName) -> bool {
        self.clock.now() >= self.until || self.away.borrow().contains(name)
    }
}
