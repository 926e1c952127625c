//! Inviting a user of another server, who is told by that server and need not be in any room of this one.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use std::rc::Rc;

use ruma::{OwnedEventId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{candidates::is_unrecognized, malformed, read, target::path, template::body_of, told_room};
use crate::{
    client_event::STRIPPED,
    error::Error,
    event::{CheckedPdu, NewEvent},
    federation_client,
    http::Method,
    policy_servers::must_be_recommended,
    ports::Reply,
    room_server::{Draft, Input, InputKind, Room, Undecided, Verdict, View, stored::Status, view::collect},
    server::Server,
};

#[derive(Deserialize)]
struct Invited<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

/// Invites a user of another server: that server signs the event, or a relay keeps it until it does, and then it takes effect.
///
/// `decide` makes the event; `None` where there is nothing to do. Returns the event's ID.
pub(crate) async fn invite(
    server: &Server,
    room: &Rc<Room>,
    invited: &UserId,
    mut decide: impl FnMut(&mut Draft<'_>) -> Result<Option<NewEvent>, Undecided>,
) -> Result<Option<OwnedEventId>, Error> {
    let proposed = server.rooms.transact_in(room, |draft| match decide(draft)? {
        Some(event) => Ok(Some((draft.proposal(event)?, draft.current()))),
        None => Ok(None),
    });
    let Some((event, state)) = proposed.await? else { return Ok(None) };
    let event = must_be_recommended(server, room, event).await?;
    let described = |view: &View<'_>| {
        let numbers = collect(STRIPPED.iter(), |kind| state.event(view, kind, ""))?;
        view.events(numbers.into_iter().flatten())
    };
    let described = server.rooms.ask(room, described).await?;
    let described: Vec<&RawValue> = described.iter().map(|event| &*event.pdu.json).collect();
    let event = deliver(server, room, invited.server_name(), event, &json!(described)).await?;
    // The other server may have left out what others than it have signed.
    let event = must_be_recommended(server, room, event).await?;
    let input = Input { event, kind: InputKind::New, state_before: None };
    server.rooms.transact_in(room, |draft| accept(draft, &input)).await?;
    Ok(Some(input.event.pdu().event_id.clone()))
}

async fn deliver(server: &Server, room: &Room, peer: &ServerName, event: CheckedPdu, described: &Value) -> Result<CheckedPdu, Error> {
    let parameters = [room.id.as_str(), event.pdu().event_id.as_str()];
    let mut body = body_of(&event)?;
    let whole = json!({ "room_version": room.version.id, "event": body, "invite_room_state": described });
    match put(server, peer, &path("v2/invite", &parameters), &whole).await {
        // Only rooms of the first versions can be spoken of to servers that are as old.
        Err(error) if is_unrecognized(&error) && matches!(room.version.id.as_str(), "1" | "2") => {
            if let Some(body) = body.as_object_mut() {
                body.insert("unsigned".into(), json!({ "invite_room_state": described }));
            }
            match put(server, peer, &path("v1/invite", &parameters), &body).await? {
                Some(answer) => signed(server, room, &event, read::<(u16, Invited<'_>)>(&answer)?.1).await,
                None => Ok(event),
            }
        }
        answer => match answer? {
            Some(answer) => signed(server, room, &event, read(&answer)?).await,
            None => Ok(event),
        },
    }
}

/// The answer, or `None` where the other server is away and a relay keeps the request for it.
async fn put(server: &Server, peer: &ServerName, target: &str, body: &Value) -> Result<Option<Vec<u8>>, Error> {
    let request = server.federation_client.signed(peer, Method::Put, target, Some(body))?;
    match server.federation_client.send(peer, request).await? {
        Reply::Answered(response) => Ok(Some(federation_client::read(response)?)),
        Reply::Kept { .. } => Ok(None),
    }
}

async fn signed(server: &Server, room: &Room, own: &CheckedPdu, answer: Invited<'_>) -> Result<CheckedPdu, Error> {
    told_room::signed_by_others(server, &room.version, own, answer.event).await
}

/// The room may have changed while the other server was asked.
fn accept(draft: &mut Draft<'_>, input: &Input) -> Result<(), Undecided> {
    match draft.receive(input)? {
        Verdict::Known | Verdict::Stored(Status::Accepted) => Ok(()),
        Verdict::Stored(_) => Err(Error::forbidden("The room does not allow this any more.").into()),
        Verdict::Missing { .. } => Err(malformed("the invitation came back with another place").into()),
    }
}
