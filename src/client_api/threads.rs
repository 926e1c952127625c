//! The threads of a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room>

use std::sync::Arc;

use futures_util::future;
use ruma::{EventId, OwnedEventId};

use super::{Access, Call, Route, handler};
use crate::{
    client_event::ClientEvent,
    error::Error,
    gather::Gather,
    history::{Direction, Range, place},
    http::{Method, Response},
    ordered::{OrderedMap, OrderedSet},
    room_server::{
        Room,
        redact::redacted,
        relation::{Group, child_key, read_child, thread_log_key},
        stored::StoredEvent,
        view::collect,
    },
    sections::Sections,
    sight::Sight,
    storage::Row,
    tokens::TopologicalToken,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/{version}/rooms/{roomId}/threads",
    access: Access::Token,
    handler: handler!(threads),
}];

/// So many events in threads are looked at for one answer; a thread's last event is found among all of its others.
const MAX_SCANNED: usize = 1_000;

/// So many events of a thread are looked at for the last one that was not sent by somebody whom the user ignores.
const LAST: usize = 20;

/// So many events in threads are read at once.
const CHUNK: usize = 100;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>
async fn threads(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let sight = Sight::of_reader(&call.server, &room, call.user()?).await?;
    let limit = call.limit()?;
    if limit == 0 {
        return Err(Error::invalid_param("limit must be greater than zero."));
    }
    let participated = match call.query("include") {
        None | Some("all") => false,
        Some("participated") => true,
        Some(_) => return Err(Error::invalid_param("include must be all or participated.")),
    };
    let range = call.range(&room, Direction::Backward).await?;
    let threads = Threads { call: &call, room: &room, sight: &sight, participated };
    let (chunk, next) = threads.page(Range { from: range.from.min(sight.end()), ..range }, limit).await?;
    let mut body = Sections::of("chunk", &chunk);
    body.insert_some("next_batch", next.map(|next| next.to_string()));
    Ok(Response::ok(&body))
}

/// The threads of a room, as one user sees them.
struct Threads<'a> {
    call: &'a Call,
    room: &'a Room,
    sight: &'a Sight<'a>,
    /// Whether only those are asked for in which the user takes part.
    participated: bool,
}

impl Threads<'_> {
    /// The roots of the threads, those with the most recent events first, and where the next page begins.
    async fn page(&self, range: Range, limit: usize) -> Result<(Vec<ClientEvent>, Option<TopologicalToken>), Error> {
        let mut roots = Vec::new();
        let (mut rest, mut scanned, mut next) = (range, 0, None);
        while scanned < MAX_SCANNED {
            let rows = rest.scan(|depth, event| thread_log_key(self.room.number, depth, event)).limited(CHUNK);
            let rows = self.call.server.ports.store.scan(&rows).await?;
            let Some(last) = rows.last().and_then(place) else { return Ok((roots, None)) };
            scanned += rows.len();
            rest = rest.behind(last);
            for (place, root) in self.roots(&rows).await? {
                if roots.len() == limit {
                    return Ok((roots, next));
                }
                roots.push(root);
                next = Some(place);
            }
        }
        Ok((roots, Some(rest.from)))
    }

    /// The roots of those threads whose last event is among the rows, with the places of those events.
    async fn roots(&self, rows: &[Row]) -> Result<Vec<(TopologicalToken, ClientEvent)>, Error> {
        let latest = self.latest(rows).await?;
        let found = self.call.server.rooms.ask(self.room, |view| {
            let roots = latest.keys().zip(view.events_by_id(latest.values())?).filter_map(|(place, root)| Some((*place, root?)));
            collect(roots, |(place, root)| Ok(self.sight.may_see(view, &root)?.then_some((place, root))))
        });
        let (places, roots): (Vec<_>, Vec<_>) = found.await?.into_iter().flatten().unzip();
        let roots: Vec<_> = roots.into_iter().map(|root| self.shown(root)).collect::<Result<_, _>>()?;
        let told = self.call.told(self.room, &roots).await?;
        Ok(places.into_iter().zip(told).filter(|(_, root)| !self.participated || has_participated(root)).rev().collect())
    }

    /// A root as the user sees it: redacted if they ignore its sender.
    fn shown(&self, root: Arc<StoredEvent>) -> Result<Arc<StoredEvent>, Error> {
        if !self.sight.ignores(&root.pdu.sender) {
            return Ok(root);
        }
        let pdu = Arc::new(redacted(&root.pdu, &self.room.version)?);
        Ok(Arc::new(StoredEvent { pdu, ..(*root).clone() }))
    }

    /// The threads whose last event is among the rows, by the places of those events.
    async fn latest(&self, rows: &[Row]) -> Result<OrderedMap<TopologicalToken, OwnedEventId>, Error> {
        let places: OrderedSet<_> = rows.iter().filter_map(place).gather();
        let roots: OrderedSet<_> = rows.iter().filter_map(|row| EventId::parse(std::str::from_utf8(&row.value).ok()?).ok()).gather();
        let scan = |root: &OwnedEventId| {
            let whole = Range::from(Direction::Backward, self.sight.end());
            whole.scan(|depth, event| child_key(self.room.number, root, Group::Thread, depth, event)).limited(LAST)
        };
        let scans: Vec<_> = roots.iter().map(scan).collect();
        let found = future::try_join_all(scans.iter().map(|scan| self.call.server.ports.store.scan(scan))).await?;
        let last = |rows: &[Row]| rows.iter().filter_map(read_child).find(|child| !self.sight.ignores(&child.row.sender));
        let latest = roots.into_iter().zip(found).filter_map(|(root, rows)| Some((last(&rows)?.place, root)));
        Ok(latest.filter(|(place, _)| places.contains(place)).gather())
    }
}

/// Whether the user takes part in a thread, by its root's aggregation.
fn has_participated(root: &ClientEvent) -> bool {
    let relations = root.unsigned.as_ref().and_then(|unsigned| unsigned.relations.as_ref());
    relations.and_then(|relations| relations.thread.as_ref()).is_some_and(|thread| thread.current_user_participated)
}
