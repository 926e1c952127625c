//! The gateway: ordinary homeservers reach nodes by names below a domain that leads here, over plain HTTPS.
//!
//! What they ask goes the way of every other request; here is only what they know otherwise than Inglenook's nodes do: the host that
//! says whom a request is for, and what it means that a request is stored.

use inglenook_protocol::{
    key_name::public_key_of,
    message::whole,
    path::{OUTCOME_HEADER, Outcome},
};
use ruma::{OwnedServerName, ServerName};
use serde_json::{Value, json};

use crate::{
    clock::Clock,
    headers::handed_on,
    keys::Keys,
    ordinary::Ordinary,
    origin::WholeRequest,
    relay::{Caller, Relay, whole_body},
    reply::{Answer, Refused, Request, Response, boxed, json, with_outcome},
    target::{Target, is_federation, segments},
    weight::is_light,
};

/// <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>
const WELL_KNOWN: &str = "/.well-known/matrix/server";

/// What makes a relay a gateway.
pub(crate) struct Gateway {
    names: Names,
    /// The way to ordinary servers.
    pub(crate) ordinary: Ordinary,
    /// And their keys.
    pub(crate) keys: Keys,
}

/// The domain, and where its names are reached.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Below which nodes have their names.
    pub(crate) domain: String,
    /// Where ordinary servers reach it.
    pub(crate) port: u16,
}

impl Gateway {
    /// Nothing is known yet of any ordinary server.
    pub(crate) fn new(names: Names, ordinary: Ordinary, clock: Clock) -> Self {
        Self { names, ordinary, keys: Keys::new(clock) }
    }

    /// The node that a `Host` header names, if it is one of this gateway's.
    pub(crate) fn node(&self, host: &str) -> Option<OwnedServerName> {
        self.names.node(host)
    }

    /// Whether a name is one label below the domain, and that label is made of a key.
    pub(crate) fn is_below(&self, name: &ServerName) -> bool {
        self.names.is_below(name)
    }
}

impl Names {
    /// A port in the header says where the gateway is, not who is meant.
    fn node(&self, host: &str) -> Option<OwnedServerName> {
        let host = host.to_ascii_lowercase();
        let name = ServerName::parse(host).ok()?;
        let name = ServerName::parse(name.host()).ok()?;
        self.is_below(&name).then_some(name)
    }

    fn is_below(&self, name: &ServerName) -> bool {
        let domain = name.as_str().split_once('.').map(|(_, domain)| domain);
        domain == Some(self.domain.as_str()) && public_key_of(name).is_some()
    }
}

/// Answers what an ordinary server, or anybody else, asks one of the gateway's names.
pub(crate) async fn answer(relay: &Relay, gateway: &Gateway, request: Request, caller: Caller) -> Response {
    let path = request.uri.split('?').next().unwrap_or_default();
    if request.method == "GET" && path == WELL_KNOWN {
        return json(200, &json!({ "m.server": format!("{}:{}", request.authority, gateway.names.port) }));
    }
    // The relay's own endpoints are at its own names.
    if !is_federation(&request.uri) {
        return Refused::unrecognized().into();
    }
    relay.metrics.gateway_in.inc();
    let headers = handed_on(&request.headers);
    let answer = ask(relay, Request { headers, ..request }, caller).await.unwrap_or_else(|refused| relay.refuse(refused));
    Response { headers: handed_on(&answer.headers), ..answer }
}

async fn ask(relay: &Relay, request: Request, caller: Caller) -> Answer {
    if !Target::of(&request.method, &request.uri).is_storable() {
        return Ok(relay.answer(request, caller).await);
    }
    let (body, _held) = relay.callers.counted(request.body);
    let request = whole_body(Request { body, ..request }).await?;
    let taken = taken(&request)?;
    let answer = relay.answer_counted(request.map_body(|body| boxed(whole(body))), caller).await;
    let is_stored = Outcome::parse(answer.headers.first(OUTCOME_HEADER)) == Outcome::Stored;
    Ok(if is_stored { with_outcome(json(200, &taken), Outcome::Stored) } else { answer })
}

/// What its sender takes for success, of a request that waits in the mailbox.
///
/// An invitation is answered with its event. Only the node could add the invited server's signature, which the specification asks for;
/// most servers do without it, and the others see the invitation fail.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>,
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
fn taken(request: &WholeRequest) -> Result<Value, Refused> {
    if let Target::Send(_) = Target::of(&request.method, &request.uri) {
        return Ok(json!({ "pdus": {} }));
    }
    let invitation: Value = is_light(&request.body).then(|| serde_json::from_slice(&request.body).ok()).flatten().unwrap_or_default();
    let is_first_version = segments(&request.uri).get(2).is_some_and(|version| version == "v1");
    let event = if is_first_version { Some(&invitation) } else { invitation.get("event") };
    let event = event.filter(|event| event.is_object()).ok_or_else(|| Refused::bad("The invitation has no event."))?;
    Ok(if is_first_version { json!([200, { "event": event }]) } else { json!({ "event": event }) })
}

#[cfg(test)]
mod tests {
    use inglenook_protocol::{key_name::label_of, message::Headers};

    use super::*;

    #[test]
    fn names_are_one_label_below_the_domain() {
        let names = Names { domain: "gateway.example".into(), port: 443 };
        let label = label_of(&[7; 32]);
        let name = format!("{label}.gateway.example");
        for host in [name.clone(), format!("{name}:8448"), name.to_uppercase()] {
            assert_eq!(names.node(&host).unwrap(), name, "{host}");
        }
        for host in ["gateway.example", "a.gateway.example", &label, &format!("{label}.a.gateway.example"), &format!("{label}.example"), ""]
        {
            assert!(names.node(host).is_none(), "{host}");
        }
    }

    #[test]
    fn what_is_stored_is_answered_as_its_sender_expects() {
        let answer = |uri: &str, body: Value| {
            let body = serde_json::to_vec(&body).unwrap();
            taken(&WholeRequest { method: "PUT".into(), authority: String::new(), uri: uri.into(), headers: Headers::default(), body })
        };
        let event = json!({ "type": "m.room.member" });
        assert_eq!(answer("/_matrix/federation/v1/send/1", json!({ "pdus": [] })), Ok(json!({ "pdus": {} })));
        assert_eq!(answer("/_matrix/federation/v2/invite/!a:b/$c", json!({ "event": event })), Ok(json!({ "event": event })));
        assert_eq!(answer("/_matrix/federation/v1/invite/!a:b/$c", event.clone()), Ok(json!([200, { "event": event }])));
        for version in ["v1", "v2"] {
            assert_eq!(answer(&format!("/_matrix/federation/{version}/invite/!a:b/$c"), json!([event])).unwrap_err().status, 400);
        }
    }
}
