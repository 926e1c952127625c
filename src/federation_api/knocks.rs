//! Knocks from elsewhere.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>

use serde_json::json;

use super::{
    Access, Call, Route, handler,
    handshake::{self, Wish, check_version, handed_in, template, template_answer},
    pdus::ObjectWriter,
};
use crate::{
    client_event::STRIPPED,
    error::Error,
    http::{Method, Response},
    room_server::{View, view::collect},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/federation/v1/make_knock/{roomId}/{userId}",
        access: Access::Signed,
        handler: handler!(make_knock),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/send_knock/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(send_knock),
    },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid>
async fn make_knock(call: Call) -> Result<Response, Error> {
    let user = call.user_id(1)?;
    call.only_of_origin(&user)?;
    let room = call.open_room(0).await?;
    check_version(&call, &room)?;
    let template = template(&call.server, &room, &user, json!({ "membership": Wish::Knock.membership() })).await?;
    Ok(template_answer(&room, &template))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>
async fn send_knock(call: Call) -> Result<Response, Error> {
    let room = call.open_room(0).await?;
    let event = handed_in(&call, &room, Wish::Knock).await?;
    let knock = handshake::admit(&call.server, &room, &event).await?;
    let state = knock.decided.before;
    let shown = |view: &View<'_>| {
        let numbers = collect(STRIPPED.iter(), |kind| state.event(view, kind, ""))?;
        view.events(numbers.into_iter().flatten())
    };
    let mut body = ObjectWriter::new();
    body.begin_events("knock_room_state");
    call.server.rooms.ask(&room, shown).await?.iter().for_each(|event| body.event(&event.pdu.json));
    body.end_events();
    Ok(Response::bytes(200, "application/json", body.finish()))
}
