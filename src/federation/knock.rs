//! Knocking on a room that this server is not in.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>

use ruma::{OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::{Candidates, OwnMembership, malformed, read, target::path, template::body_of};
use crate::{
    error::Error,
    room_server::Draft,
    server::Server,
    storage::{Key, Table},
};

/// The most events by which a room is described that are kept.
const MAX_TOLD: usize = 50;

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>
#[derive(Deserialize)]
struct Knocked {
    knock_room_state: Vec<Stripped>,
}

/// What a client is shown of an event, whatever else the other server tells of it.
#[derive(Deserialize, serde::Serialize)]
struct Stripped {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: String,
    content: serde_json::Map<String, Value>,
}

/// Knocks on a room through a server that is in it.
pub(crate) async fn knock(server: &Server, own: OwnMembership<'_>, candidates: &Candidates) -> Result<(), Error> {
    candidates.first_to_help(async |peer| knock_through(server, own, peer).await).await
}

/// The server through which this one has last knocked on the room, and through which a knock can be taken back.
pub(crate) async fn helper(server: &Server, room: &RoomId) -> Result<Option<OwnedServerName>, Error> {
    let row = server.ports.store.get_many(&[helper_key(room)]).await?.pop().flatten();
    Ok(row.and_then(|row| ServerName::parse(String::from_utf8(row).ok()?).ok()))
}

fn helper_key(room: &RoomId) -> Key {
    Key::new(Table::Helpers).text(room.as_str())
}

async fn knock_through(server: &Server, own: OwnMembership<'_>, peer: &ServerName) -> Result<(), Error> {
    let (event, version) = own.make(server, peer, "make_knock").await?;
    let room = server.rooms.room_or_new(own.room, &version).await?;
    if room.version.id != version.id && room.is_entered() {
        return Err(malformed(format!("{} is of room version {}", room.id, room.version.id)));
    }
    let target = path("v1/send_knock", &[own.room.as_str(), event.pdu().event_id.as_str()]);
    let answer: Knocked = read(&server.federation_client.put(peer, &target, &body_of(&event)?).await?)?;
    let told: Vec<_> =
        answer.knock_room_state.iter().take(MAX_TOLD).map(serde_json::to_value).collect::<Result<_, _>>().map_err(malformed)?;
    let note = |draft: &mut Draft<'_>| {
        draft.rows().put(helper_key(own.room), peer.as_str());
        draft.note_from_outside(&event, &told)
    };
    server.rooms.transact_in(&room, note).await
}
