//! Asking the policy servers of rooms for their recommendation, and what becomes of events that come without one.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>

use std::rc::Rc;

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use ruma::{CanonicalJsonObject, ServerName, signatures};
use serde_json::Value;

use crate::{
    error::Error,
    event::{CheckedPdu, Pdu, RoomVersion},
    federation_client::{FederationClient, PeerError},
    identity::Identity,
    parse,
    ports::{Answer, Clock, TransportError},
    room_server::{
        Room,
        policy::{Policy, PolicyServers},
    },
    server::Server,
};

/// How long a policy server may take: the room stands still meanwhile for whoever sends.
const PATIENCE_MILLIS: u64 = 15_000;

/// So many events that came without a recommendation are asked about at once. Honest servers send none, and each costs a request.
const MAX_ASKED: usize = 50;

/// Asks policy servers in this server's name.
pub(crate) struct PolicyClient {
    pub(crate) client: Rc<FederationClient>,
    pub(crate) identity: Rc<Identity>,
    pub(crate) clock: Rc<dyn Clock>,
}

impl PolicyServers for PolicyClient {
    fn recommend<'a>(&'a self, policy: &'a Policy, pdu: &'a Pdu, version: &'a RoomVersion) -> Answer<'a, Pdu, Error> {
        async move {
            let signatures = if policy.via() == self.identity.server_name() {
                signed_here(&self.identity, pdu, version)?
            } else {
                self.ask(policy.via(), pdu).await?
            };
            let signed = pdu.with_signatures(signatures)?;
            let refusal = || Error::forbidden("The room's policy server has not signed this with the key that the room knows.");
            if policy.recommends(&signed, version) { Ok(signed) } else { Err(refusal()) }
        }
        .boxed_local()
    }
}

impl PolicyClient {
    /// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign>
    async fn ask(&self, via: &ServerName, pdu: &Pdu) -> Result<CanonicalJsonObject, Error> {
        let event: Value = serde_json::from_str(pdu.json.get()).map_err(|error| Error::bug(error.to_string()))?;
        let asked = Box::pin(self.client.post(via, "/_matrix/policy/v1/sign", &event));
        match select(asked, self.clock.sleep(PATIENCE_MILLIS)).await {
            Either::Left((answer, _)) => parse::json(&answer?).map_err(|error| PeerError::Malformed(error.to_string()).into()),
            Either::Right(_) => Err(TransportError::TimedOut(via.to_string()).into()),
        }
    }
}

/// The signature of this server as the policy server of the room. The room's rules have been asked already.
pub(crate) fn signed_here(identity: &Identity, pdu: &Pdu, version: &RoomVersion) -> Result<CanonicalJsonObject, Error> {
    let bug = |error: &dyn ToString| Error::bug(error.to_string());
    let mut object: CanonicalJsonObject = serde_json::from_str(pdu.json.get()).map_err(|error| bug(&error))?;
    object.remove("signatures");
    let name = identity.server_name().as_str();
    signatures::sign_event(name, &identity.policy_key(), &mut object, &version.rules.redaction).map_err(|error| bug(&error))?;
    match object.remove("signatures") {
        Some(ruma::CanonicalJsonValue::Object(signatures)) => Ok(signatures),
        _ => Err(Error::bug("what was signed has no signatures")),
    }
}

/// Events with whether the room's policy server recommends them. It is asked about those that have come without its signature, unless they
/// are accepted of nobody anyway: whoever likes can send any number of these.
pub(crate) async fn recommended(server: &Server, room: &Room, events: Vec<CheckedPdu>) -> Result<Vec<(CheckedPdu, bool)>, Error> {
    let Some(policy) = server.rooms.policy(room).await? else { return Ok(events.into_iter().map(|event| (event, true)).collect()) };
    let shut_out = server.rooms.shut_out(room, &events).await?;
    judge(server, room, &policy, events.into_iter().zip(shut_out).collect()).await
}

/// The same for events of which it is known whether they are shut out.
async fn judge(server: &Server, room: &Room, policy: &Policy, events: Vec<(CheckedPdu, bool)>) -> Result<Vec<(CheckedPdu, bool)>, Error> {
    let (mut judged, mut asked, until) = (Vec::new(), 0, server.now() + PATIENCE_MILLIS);
    for (event, is_shut_out) in events {
        if policy.recommends(event.pdu(), &room.version) {
            judged.push((event, true));
            continue;
        }
        if is_shut_out {
            judged.push((event, false));
            continue;
        }
        // Whoever is away now is away for all of them, and so is who takes too long for all of them together.
        let may_ask = asked < MAX_ASKED && server.now() < until;
        let answer = if may_ask { server.rooms.recommend(policy, event.pdu(), &room.version).await } else { Ok(None) };
        asked += 1;
        match answer {
            Ok(Some(signed)) => judged.push((event.with_signatures_of(signed), true)),
            Err(error @ (Error::Storage(_) | Error::Bug(_))) => return Err(error),
            Err(error) => {
                if matches!(error, Error::Transport(_)) {
                    asked = MAX_ASKED;
                }
                judged.push((event, false));
            }
            Ok(None) => judged.push((event, false)),
        }
    }
    Ok(judged)
}

/// The event with the recommendation that the room wants, or why it has none.
pub(crate) async fn must_be_recommended(server: &Server, room: &Room, event: CheckedPdu) -> Result<CheckedPdu, Error> {
    let refusal = || Error::forbidden("The room's policy server does not recommend this.");
    let Some(policy) = server.rooms.policy(room).await? else { return Ok(event) };
    match judge(server, room, &policy, vec![(event, false)]).await?.pop() {
        Some((event, true)) => Ok(event),
        _ => Err(refusal()),
    }
}
