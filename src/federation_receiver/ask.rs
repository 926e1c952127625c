//! What is asked of other servers to place an event: the events before it, those that authorise it, and the state at it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::{error::Error, event::RawPdu, federation_client::PeerError, gather::Gather, ordered::OrderedSet, parse, server::Server};

/// So many missing events are asked for at once. Servers answer with fewer as they like.
pub(super) const MAX_MISSING: usize = 100;

/// A state and its authorising chain have so many events at most: more than the largest rooms that browsers can hold.
const MAX_STATE_EVENTS: usize = 200_000;

/// What stays as it is in a path's segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Events as another server tells them.
type Told = Vec<Box<RawValue>>;

/// The state before an event, by IDs.
#[derive(Deserialize)]
pub(super) struct StateIds {
    pub(super) pdu_ids: Vec<OwnedEventId>,
    pub(super) auth_chain_ids: Vec<OwnedEventId>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
pub(super) async fn missing_events(
    server: &Server,
    peer: &ServerName,
    room: &RoomId,
    earliest: &[OwnedEventId],
    latest: &[OwnedEventId],
    min_depth: u64,
) -> Result<Vec<RawPdu>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        events: Told,
    }
    let target = format!("/_matrix/federation/v1/get_missing_events/{}", encode(room.as_str()));
    let body = json!({ "earliest_events": earliest, "latest_events": latest, "limit": MAX_MISSING, "min_depth": min_depth });
    let answer: Answer = read(&server.federation_client.post(peer, &target, &body).await?)?;
    Ok(parse(answer.events, MAX_MISSING))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
pub(super) async fn event(server: &Server, peer: &ServerName, id: &EventId) -> Result<Option<RawPdu>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        pdus: Told,
    }
    let target = format!("/_matrix/federation/v1/event/{}", encode(id.as_str()));
    let answer: Answer = read(&server.federation_client.get(peer, &target).await?)?;
    Ok(parse(answer.pdus, 1).pop())
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>
pub(super) async fn event_auth(server: &Server, peer: &ServerName, room: &RoomId, id: &EventId) -> Result<Vec<RawPdu>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        auth_chain: Told,
    }
    let target = format!("/_matrix/federation/v1/event_auth/{}/{}", encode(room.as_str()), encode(id.as_str()));
    let answer: Answer = read(&server.federation_client.get(peer, &target).await?)?;
    Ok(parse(answer.auth_chain, MAX_STATE_EVENTS))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>
pub(super) async fn state_ids(server: &Server, peer: &ServerName, room: &RoomId, id: &EventId) -> Result<StateIds, Error> {
    let target = format!("/_matrix/federation/v1/state_ids/{}?event_id={}", encode(room.as_str()), encode(id.as_str()));
    let ids: StateIds = read(&server.federation_client.get(peer, &target).await?)?;
    if ids.pdu_ids.len() + ids.auth_chain_ids.len() > MAX_STATE_EVENTS {
        return Err(PeerError::Malformed("the state has too many events".into()).into());
    }
    Ok(ids)
}

/// Those events of the state before an event and of its authorising chain that are wanted. The others are not kept in memory.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
pub(super) async fn state(
    server: &Server,
    peer: &ServerName,
    room: &RoomId,
    id: &EventId,
    is_wanted: impl Fn(&RawPdu) -> bool,
) -> Result<Vec<RawPdu>, Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        pdus: Vec<&'a RawValue>,
        #[serde(borrow)]
        auth_chain: Vec<&'a RawValue>,
    }
    let target = format!("/_matrix/federation/v1/state/{}?event_id={}", encode(room.as_str()), encode(id.as_str()));
    let answer = server.federation_client.get(peer, &target).await?;
    let answer: Answer<'_> = parse::json(&answer).map_err(|error| PeerError::Malformed(error.to_string()))?;
    let events = answer.auth_chain.into_iter().chain(answer.pdus).take(MAX_STATE_EVENTS);
    Ok(events.filter_map(|json| RawPdu::parse(json.get().as_bytes()).ok()).filter(is_wanted).collect())
}

/// What is no event is left out.
fn parse(told: Told, limit: usize) -> Vec<RawPdu> {
    told.into_iter().take(limit).filter_map(|json| RawPdu::parse(json.get().as_bytes()).ok()).collect()
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Error> {
    parse::json(answer).map_err(|error| PeerError::Malformed(error.to_string()).into())
}

fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// IDs, each once.
pub(super) fn unique(ids: impl IntoIterator<Item = OwnedEventId>) -> Vec<OwnedEventId> {
    ids.into_iter().gather::<OrderedSet<_>>().into_iter().collect()
}
