//! The remote join handshake, through several candidates of which any may serve each step.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::{cell::RefCell, rc::Rc};

use inglenook_protocol::key_name::public_key_of;
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Candidates, OwnMembership,
    candidates::{is_away, is_own_fault, is_unrecognized},
    malformed, read,
    target::path,
    template::body_of,
    told_room::{ToldRoom, signed_by_others},
};
use crate::{
    error::Error,
    event::{CheckedPdu, RoomVersion},
    ports::TransportError,
    room_server::Room,
    server::Server,
};

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    state: Vec<&'a RawValue>,
    #[serde(borrow)]
    auth_chain: Vec<&'a RawValue>,
    /// The event as the resident server sends it to others, with its signature.
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    members_omitted: bool,
    #[serde(default)]
    servers_in_room: Vec<OwnedServerName>,
    #[serde(rename = "im.inglenook.node_records", default)]
    node_records: Vec<CanonicalJsonObject>,
}

/// The field of an answer to a join with the node records of those in the room.
pub(crate) const NODE_RECORDS: &str = "im.inglenook.node_records";

/// Brings this server into a room by one of its users. The room is as it was before, or entered as a whole.
///
/// A server that was handed the event and has not answered may have let the user in. Only another attempt can tell, whatever the
/// others say: the join ends with that silence then.
pub(crate) async fn join(server: &Server, own: OwnMembership<'_>, candidates: &Candidates) -> Result<Rc<Room>, Error> {
    let silence = RefCell::default();
    let joined = candidates.first_to_help(async |peer| join_through(server, own, peer, candidates, &silence).await).await;
    joined.map_err(|error| if is_own_fault(&error) { error } else { silence.take().unwrap_or(error) })
}

async fn join_through(
    server: &Server,
    own: OwnMembership<'_>,
    peer: &ServerName,
    candidates: &Candidates,
    silence: &RefCell<Option<Error>>,
) -> Result<Rc<Room>, Error> {
    let (event, version) = own.make(server, peer, "make_join").await?;
    if let Some(room) = server.rooms.room(own.room).await?
        && room.version.id != version.id
        && room.is_entered()
    {
        return Err(malformed(format!("{} is of room version {}", room.id, room.version.id)));
    }
    let (helper, answer) = send(server, &event, peer, candidates, silence).await?;
    let mut entry = read_entry(&answer)?;
    let records = std::mem::take(&mut entry.node_records);
    let room = enter(server, event, version, &helper, entry).await?;
    meet(server, &room, &helper, &records).await?;
    Ok(room)
}

/// Learns where the others in the room are, as far as the server that has let this one in knows, and has them learn where this one is:
/// otherwise they would know it by the others' word, if these are there to give it.
async fn meet(server: &Server, room: &Room, helper: &ServerName, records: &[CanonicalJsonObject]) -> Result<(), Error> {
    let residents = server.rooms.residents(room).await?;
    server.records.learn_all(records, |name| residents.contains_key(name)).await?;
    let is_other = |name: &&OwnedServerName| public_key_of(name).is_some() && *name != helper && *name != server.identity.server_name();
    server.federation_sender.introduce_to(residents.keys().filter(is_other));
    Ok(())
}

/// Sends the event to the server that gave its place or, where that has gone, to any other.
async fn send(
    server: &Server,
    event: &CheckedPdu,
    peer: &ServerName,
    candidates: &Candidates,
    silence: &RefCell<Option<Error>>,
) -> Result<(OwnedServerName, Vec<u8>), Error> {
    match send_to(server, event, peer).await {
        Err(error) if is_away(&error) => drop(silence.replace(Some(error))),
        answer => return Ok((peer.to_owned(), answer?)),
    }
    if event.pdu().content_str("join_authorised_via_users_server").is_some() {
        return Err(TransportError::Unreachable(peer.to_string(), "it has not answered".into()).into());
    }
    let others = Candidates::new(server, candidates.names().iter().filter(|name| *name != peer).cloned());
    others.first_to_help(async |peer| Ok((peer.to_owned(), send_to(server, event, peer).await?))).await
}

async fn send_to(server: &Server, event: &CheckedPdu, peer: &ServerName) -> Result<Vec<u8>, Error> {
    let pdu = event.pdu();
    let body = body_of(event)?;
    let parameters = [pdu.room_id.as_str(), pdu.event_id.as_str()];
    match server.federation_client.put(peer, &path("v2/send_join", &parameters), &body).await {
        Err(error) if is_unrecognized(&error) => server.federation_client.put(peer, &path("v1/send_join", &parameters), &body).await,
        answer => answer,
    }
}

/// The answer of either version: the first puts a status before it.
fn read_entry(answer: &[u8]) -> Result<Entry<'_>, Error> {
    match answer.trim_ascii_start().first() {
        Some(b'[') => read::<(u16, Entry<'_>)>(answer).map(|(_, entry)| entry),
        _ => read(answer),
    }
}

async fn enter(server: &Server, event: CheckedPdu, version: RoomVersion, helper: &ServerName, entry: Entry<'_>) -> Result<Rc<Room>, Error> {
    let event = match entry.event {
        Some(signed) => signed_by_others(server, &version, &event, signed).await?,
        None if event.pdu().content_str("join_authorised_via_users_server").is_some() => {
            return Err(malformed("the server that authorises the join has not signed it"));
        }
        None => event,
    };
    let mut told = ToldRoom::new(&event.pdu().room_id, version);
    told.add_auth_chain(&entry.auth_chain);
    if entry.members_omitted {
        let helpers = Candidates::new(server, [helper.to_owned()].into_iter().chain(entry.servers_in_room));
        let answer = helpers.first_to_help(async |peer| state_at(server, peer, &event).await).await?;
        let whole: StateAt<'_> = read(&answer)?;
        told.add_auth_chain(&whole.auth_chain);
        told.add_state(&whole.pdus);
        return told.enter(server, &event, helper).await;
    }
    told.add_state(&entry.state);
    told.enter(server, &event, helper).await
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
#[derive(Deserialize)]
struct StateAt<'a> {
    #[serde(borrow)]
    pdus: Vec<&'a RawValue>,
    #[serde(borrow)]
    auth_chain: Vec<&'a RawValue>,
}

/// The whole state before the event, from a server that has left out the members.
async fn state_at(server: &Server, peer: &ServerName, event: &CheckedPdu) -> Result<Vec<u8>, Error> {
    let pdu = event.pdu();
    let target = super::target::with_query(&path("v1/state", &[pdu.room_id.as_str()]), [("event_id", pdu.event_id.as_str())]);
    server.federation_client.get(peer, &target).await
}
