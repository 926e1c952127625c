//! A room's policy server: who it is, and whether it recommends an event.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>

use ruma::{
    CanonicalJsonObject, OwnedServerName, ServerName,
    events::{StateEventType, room::policy::RoomPolicyEventContent},
    serde::Base64,
    signatures::verify_policy_server_signature,
};
use serde_json::Value;

use super::{
    snapshot::Snapshot,
    view::{Need, View},
};
use crate::{
    error::Error,
    event::{Pdu, RoomVersion},
    ports::Answer,
};

/// A room's policy server.
pub(crate) struct Policy(RoomPolicyEventContent);

/// Asks policy servers to recommend events.
pub(crate) trait PolicyServers {
    /// The event with the policy server's signature, or why there is none.
    fn recommend<'a>(&'a self, policy: &'a Policy, pdu: &'a Pdu, version: &'a RoomVersion) -> Answer<'a, Pdu, Error>;
}

impl Policy {
    /// The policy server that a state names, if it names one as it should.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room>
    pub(super) fn of(view: &View<'_>, state: Snapshot) -> Result<Option<Self>, Need> {
        let Some(event) = state.event(view, &StateEventType::from("m.room.policy"), "")? else { return Ok(None) };
        let content: Value = view.event(event)?.pdu.content_as();
        let named = || {
            let via: OwnedServerName = ServerName::parse(content.get("via")?.as_str()?).ok()?;
            let key = Base64::parse(content.pointer("/public_keys/ed25519")?.as_str()?).ok()?;
            Some(Self(RoomPolicyEventContent::new(via, key)))
        };
        Ok(named())
    }

    /// The policy server's name.
    pub(crate) fn via(&self) -> &ServerName {
        &self.0.via
    }

    /// Whether the event may be in the room as far as the policy server is concerned. What names the policy server itself always may.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures>
    pub(crate) fn recommends(&self, pdu: &Pdu, version: &RoomVersion) -> bool {
        let object = serde_json::from_str::<CanonicalJsonObject>(pdu.json.get());
        object.is_ok_and(|object| verify_policy_server_signature(&self.0, &object, &version.rules).is_ok())
    }
}
