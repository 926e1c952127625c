//! Events that relate to another.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#relationships-api>

use futures_util::future;
use ruma::{EventId, OwnedEventId};

use super::{Access, Call, Route, handler};
use crate::{
    arrange::Arrange,
    error::Error,
    history::{Direction, Page, Range},
    http::{Method, Response},
    ordered::OrderedMap,
    room_server::{
        Room, View,
        relation::{Child, Group, all_children, child_key, parent_mark, read_child},
    },
    sections::Sections,
    server::Server,
    sight::Sight,
    storage::Scan,
    tokens::TopologicalToken,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/relations/{eventId}",
        access: Access::Token,
        handler: handler!(relations),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/relations/{eventId}/{relType}",
        access: Access::Token,
        handler: handler!(relations),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
        access: Access::Token,
        handler: handler!(relations),
    },
];

/// Children of children are followed so far: the specification asks for three levels at least.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>
const MAX_RECURSION: u32 = 3;

/// So many children are looked at for one answer, at whatever level.
const MAX_SCANNED: usize = 1_000;

/// Which children are asked for.
struct Wanted<'a> {
    parent: &'a EventId,
    rel_type: Option<&'a str>,
    kind: Option<&'a str>,
}

impl Wanted<'_> {
    fn allows(&self, child: &Child) -> bool {
        self.rel_type.is_none_or(|rel_type| rel_type == child.row.rel_type) && self.kind.is_none_or(|kind| kind == child.row.kind)
    }

    /// The groups that hold such children.
    fn groups(&self) -> Vec<Group> {
        self.rel_type.map_or_else(|| Group::OF_CHILDREN.to_vec(), |rel_type| vec![Group::of(rel_type)])
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>
async fn relations(call: Call) -> Result<Response, Error> {
    let (room, parent, sight) = call.visible_event(0, 1).await?;
    let range = call.range(&room, Direction::parse(call.query("dir").unwrap_or("b"))?).await?;
    let given = |index| Some(call.param(index)).filter(|value: &&str| !value.is_empty());
    let wanted = Wanted { parent: &parent.pdu.event_id, rel_type: given(2), kind: given(3) };
    let recurse = call.query_bool("recurse")?;
    let children = Children { server: &call.server, room: &room, sight: &sight, wanted };
    let limit = call.limit()?.max(1);
    let page = if recurse == Some(true) { children.page_of_all(range, limit).await? } else { children.page(range, limit).await? };
    let mut body = Sections::of("chunk", &call.told(&room, &page.events).await?);
    body.insert_some("next_batch", page.next.map(|next| next.to_string()));
    body.insert_some("prev_batch", call.query("from"));
    body.insert_some("recursion_depth", recurse.map(|recurse| if recurse { MAX_RECURSION } else { 0 }));
    Ok(Response::ok(&body))
}

/// The children of an event, as one user sees them.
struct Children<'a> {
    server: &'a Server,
    room: &'a Room,
    sight: &'a Sight<'a>,
    wanted: Wanted<'a>,
}

impl Children<'_> {
    /// A page of the event's own children.
    async fn page(&self, range: Range, limit: usize) -> Result<Page, Error> {
        let mut page = Page { events: Vec::new(), next: None };
        let (mut rest, mut scanned) = (range, 0);
        while scanned < MAX_SCANNED {
            let children = self.read(rest, limit + 1).await?;
            let Some(last) = children.last() else {
                page.next = None;
                return Ok(page);
            };
            scanned += children.len();
            rest = rest.behind(last.place);
            let places = children.iter().filter(|child| self.wanted.allows(child)).map(|child| child.place).collect();
            if self.fill(&mut page, range, places, limit).await? {
                return Ok(page);
            }
        }
        page.next = Some(rest.from);
        Ok(page)
    }

    /// A page of the event's children and theirs.
    async fn page_of_all(&self, range: Range, limit: usize) -> Result<Page, Error> {
        let mut page = Page { events: Vec::new(), next: None };
        let mut places: Vec<_> = self.descendants(range).await?.into_iter().filter(|place| range.contains(*place)).collect();
        if range.direction == Direction::Backward {
            places.reverse();
        }
        if !self.fill(&mut page, range, places, limit).await? {
            page.next = None;
        }
        Ok(page)
    }

    /// Adds those of the events that the user sees, until the page is full; says whether there was one too many.
    async fn fill(&self, page: &mut Page, range: Range, places: Vec<TopologicalToken>, limit: usize) -> Result<bool, Error> {
        let look = |view: &View<'_>| self.sight.seen(view, view.events(places.iter().map(|place| place.event))?);
        let events = self.server.rooms.ask(self.room, look).await?;
        for event in events.into_iter().flatten() {
            if page.events.len() == limit {
                return Ok(true);
            }
            page.next = Some(range.behind(TopologicalToken::before(&event)).from);
            page.events.push(event);
        }
        Ok(false)
    }

    /// The next children in a range, of all groups that are asked for.
    async fn read(&self, range: Range, limit: usize) -> Result<Vec<Child>, Error> {
        let groups = self.wanted.groups();
        let (room, parent) = (self.room.number, self.wanted.parent);
        let scan = |group: &Group| range.scan(|depth, event| child_key(room, parent, *group, depth, event)).limited(limit);
        let mut children = self.scan_all(groups.iter().map(scan).collect()).await?;
        children.arrange_by_key(|child| child.place);
        if range.direction == Direction::Backward {
            children.reverse();
        }
        children.truncate(limit);
        Ok(children)
    }

    /// The places of the event's children and theirs, in the order of the timeline.
    ///
    /// A child comes behind its parent. So what is in the range has parents in it or before it; of those, the nearest are read.
    async fn descendants(&self, range: Range) -> Result<Vec<TopologicalToken>, Error> {
        let near = |direction| Range::from(direction, range.from);
        let mut level = self.read(near(Direction::Backward), MAX_SCANNED / 2).await?;
        if range.direction == Direction::Forward {
            level.extend(self.read(near(Direction::Forward), MAX_SCANNED / 2).await?);
        }
        let mut found = OrderedMap::new();
        for depth in 1..=MAX_RECURSION {
            level.retain(|child| self.wanted.allows(child) && !found.contains_key(&child.place));
            level.truncate(MAX_SCANNED - found.len());
            let numbers: Vec<_> = level.iter().map(|child| child.place.event).collect();
            let events = self.server.rooms.events(self.room, &numbers).await?;
            found.extend(level.iter().map(|child| (child.place, ())));
            if depth < MAX_RECURSION {
                level = self.below(events.iter().map(|event| event.pdu.event_id.clone()).collect()).await?;
            }
        }
        Ok(found.into_keys().collect())
    }

    /// All children of these events.
    async fn below(&self, parents: Vec<OwnedEventId>) -> Result<Vec<Child>, Error> {
        let room = self.room.number;
        let marks: Vec<_> = parents.iter().map(|parent| parent_mark(room, parent)).collect();
        let marks = self.server.ports.store.get_many(&marks).await?;
        let with_children = parents.iter().zip(marks).filter(|(_, mark)| mark.is_some());
        self.scan_all(with_children.map(|(parent, _)| all_children(room, parent).limited(MAX_SCANNED)).collect()).await
    }

    async fn scan_all(&self, scans: Vec<Scan>) -> Result<Vec<Child>, Error> {
        let rows = future::try_join_all(scans.iter().map(|scan| self.server.ports.store.scan(scan))).await?;
        Ok(rows.iter().flatten().filter_map(read_child).collect())
    }
}
