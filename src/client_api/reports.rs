//! Reports of rooms, events and users, kept for the owner of this server.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>

use ruma::events::StateEventType;
use serde::{Deserialize, Serialize};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    storage::{Batch, Key, Table},
    visibility::is_visible,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Post, path: "/_matrix/client/{version}/rooms/{roomId}/report", access: Access::Token, handler: handler!(room) },
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/rooms/{roomId}/report/{eventId}",
        access: Access::Token,
        handler: handler!(event),
    },
    Route { method: Method::Post, path: "/_matrix/client/{version}/users/{userId}/report", access: Access::Token, handler: handler!(user) },
];

/// What is kept of a report.
#[derive(Default, Serialize)]
struct Report<'a> {
    reporter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    reason: &'a str,
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

#[derive(Deserialize)]
struct OptionalReason {
    reason: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport>
async fn room(call: Call) -> Result<Response, Error> {
    let Reason { reason } = call.body()?;
    let room = call.room(0).await?;
    keep(&call, Report { room_id: Some(room.id.as_str()), reason: &reason, ..Report::default() }).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid>
async fn event(call: Call) -> Result<Response, Error> {
    let OptionalReason { reason } = call.body()?;
    let not_found = || Error::not_found("There is no such event, or you are not in its room.");
    let (event_id, user) = (call.event_id(1)?, call.user()?);
    let room = call.server.rooms.room(&call.room_id(0)?).await?.ok_or_else(not_found)?;
    let seen = call.server.rooms.ask(&room, |view| {
        let member = room.head().current.event(view, &StateEventType::RoomMember, user.as_str())?;
        let member = member.map(|number| view.event(number)).transpose()?;
        let is_joined = member.and_then(|event| event.pdu.content_str("membership")).as_deref() == Some("join");
        let event = view.event_by_id(&event_id)?.filter(|event| is_joined && event.is_shown());
        event.map_or(Ok(false), |event| is_visible(view, &event, user, true))
    });
    if !seen.await? {
        return Err(not_found());
    }
    let reason = reason.unwrap_or_default();
    let report = Report { room_id: Some(room.id.as_str()), event_id: Some(event_id.as_str()), reason: &reason, ..Report::default() };
    keep(&call, report).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport>
async fn user(call: Call) -> Result<Response, Error> {
    let Reason { reason } = call.body()?;
    let user = call.user_id(0)?;
    let is_local = user.server_name().as_str() == call.server.name();
    if is_local && call.server.accounts.account(&user).await?.is_none() {
        return Err(Error::not_found("This server does not know that user."));
    }
    keep(&call, Report { user_id: Some(user.as_str()), reason: &reason, ..Report::default() }).await
}

async fn keep(call: &Call, report: Report<'_>) -> Result<Response, Error> {
    let server = &call.server;
    let key = Key::new(Table::Reports).number(server.now()).raw(&server.random::<8>());
    let mut batch = Batch::new();
    batch.put_json(key, &Report { reporter: call.user()?.as_str(), ..report });
    server.ports.store.commit(batch).await?;
    Ok(Response::empty())
}
