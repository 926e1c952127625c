//! Events in the bodies of answers: written one after the other as they are stored, so that a large room is never in memory
//! as a whole beside its answer.

use std::{rc::Rc, sync::Arc};

use ruma::ServerName;
use serde_json::value::RawValue;

use crate::{
    error::Error,
    room_server::{Room, View, redact::redacted, stored::StoredEvent, view::collect},
    server::Server,
    server_sight::ServerSight,
};

/// So many events are read at once.
pub(super) const CHUNK: usize = 100;

/// A JSON object whose fields are written one by one.
pub(super) struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    pub(super) fn new() -> Self {
        Self(b"{".to_vec())
    }

    /// Adds a field.
    pub(super) fn field(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        self.begin(name);
        serde_json::to_writer(&mut self.0, value).map_err(|error| Error::bug(format!("the field {name} of an answer: {error}")))
    }

    /// Adds a field that is an array of events, which are added next, by [`ObjectWriter::event`].
    pub(super) fn begin_events(&mut self, name: &str) {
        self.begin(name);
        self.0.push(b'[');
    }

    pub(super) fn event(&mut self, json: &RawValue) {
        if self.0.last() != Some(&b'[') {
            self.0.push(b',');
        }
        self.0.extend_from_slice(json.get().as_bytes());
    }

    pub(super) fn end_events(&mut self) {
        self.0.push(b']');
    }

    /// The whole object.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn begin(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

/// A transaction of events, as some answers have its form.
pub(super) fn transaction(server: &Server, events: &[Box<RawValue>]) -> Result<Vec<u8>, Error> {
    let mut body = ObjectWriter::new();
    body.field("origin", server.identity.server_name())?;
    body.field("origin_server_ts", &server.now())?;
    body.begin_events("pdus");
    events.iter().for_each(|event| body.event(event));
    body.end_events();
    Ok(body.finish())
}

/// The events as a server that is in the room may have them: without their content where the room's history hides it from the
/// server, so that the graph stays whole.
pub(super) async fn shown_to(
    server: &Server,
    room: &Rc<Room>,
    peer: &ServerName,
    events: &[Arc<StoredEvent>],
) -> Result<Vec<Box<RawValue>>, Error> {
    let sight = ServerSight::of(room, peer.to_owned());
    let seen = |view: &View<'_>| collect(events.iter(), |event| sight.may_see(view, event));
    let seen = server.rooms.ask(room, seen).await?;
    let shown = events
        .iter()
        .zip(seen)
        .map(|(event, is_seen)| if is_seen { Ok(event.pdu.json.clone()) } else { Ok(redacted(&event.pdu, &room.version)?.json) });
    shown.collect()
}
