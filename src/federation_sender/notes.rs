//! What a destination is told beside the log: that its mail has arrived, who is typing, where the rooms have come to.
//!
//! None of it has a place in the log. It goes in transactions of its own, when nothing of the log is to be sent, and is made
//! anew where it fails.

use ruma::{OwnedRoomId, OwnedUserId, ServerName};
use serde_json::{Value, json};

use super::{destination::Outcome, greeting, received::RECEIVED};
use crate::{
    error::Error,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    server::Server,
};

/// The EDU that carries the sender's node record.
pub(crate) const NODE_RECORD: &str = "im.inglenook.node_record";

/// So many transactions are acknowledged at a time.
const MAX_ACKNOWLEDGED: usize = 500;

/// So many changes of typing are told at a time. With the acknowledgement and the node record they are fewer than 100 EDUs.
const MAX_TYPING: usize = 90;

/// How much of the rooms that are shared a destination is shown when it is met again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Greeting {
    /// What others than these two servers have sent last, if they have.
    WhatOthersSent,
    /// Where each room has come to.
    All,
}

/// What is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Transactions of the destination that came through a relay.
    pub(crate) acknowledged: OrderedSet<String>,
    /// Who has begun or ceased to type.
    pub(crate) typing: OrderedMap<(OwnedRoomId, OwnedUserId), bool>,
    pub(crate) greeting: Option<Greeting>,
    /// The sequence number of the node record that the destination lacks.
    pub(crate) node_record: Option<u64>,
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The part of it that one transaction has room for.
    pub(crate) fn next(&self) -> Self {
        Self {
            acknowledged: self.acknowledged.iter().take(MAX_ACKNOWLEDGED).cloned().gather(),
            typing: self.typing.iter().take(MAX_TYPING).map(|(who, typing)| (who.clone(), *typing)).gather(),
            ..self.clone()
        }
    }

    /// That part was told, or need not be told any more. Returns whether something is lasting: what must be told until it is.
    pub(crate) fn finish(&mut self, told: &Self, outcome: &Outcome) {
        self.typing.retain(|who, typing| told.typing.get(who) != Some(typing));
        if matches!(outcome, Outcome::Failed(_)) {
            return;
        }
        self.acknowledged.retain(|id| !told.acknowledged.contains(id));
        if self.greeting <= told.greeting {
            self.greeting = None;
        }
        if self.node_record == told.node_record {
            self.node_record = None;
        }
    }

    /// The events and EDUs that say it.
    pub(crate) async fn content(&self, server: &Server, to: &ServerName) -> Result<(Vec<Value>, Vec<Value>), Error> {
        let mut edus = Vec::new();
        if !self.acknowledged.is_empty() {
            edus.push(json!({ "edu_type": RECEIVED, "content": { "transactions": self.acknowledged } }));
        }
        for ((room, user), typing) in &self.typing {
            let content = json!({ "room_id": room, "user_id": user, "typing": typing });
            edus.push(json!({ "edu_type": "m.typing", "content": content }));
        }
        if let (Some(_), Some(record)) = (self.node_record, server.own_relays.record()) {
            edus.push(json!({ "edu_type": NODE_RECORD, "content": record }));
        }
        let pdus = match self.greeting {
            Some(greeting) => greeting::extremities(server, to, greeting).await?,
            None => Vec::new(),
        };
        Ok((pdus, edus))
    }
}
