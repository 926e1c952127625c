//! The content of a membership event: the membership, and how the user is shown in the room.

use ruma::UserId;
use serde_json::{Map, Value};

use crate::{
    gather::Gather,
    parse,
    profiles::{IN_MEMBER_EVENTS, profile_key},
    room_server::{Need, View},
};

/// The content of a membership event in the making.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mroommember>
#[derive(Clone, Debug)]
pub(crate) struct MemberContent(Map<String, Value>);

impl MemberContent {
    pub(crate) fn new(membership: &str) -> Self {
        Self([("membership".to_owned(), membership.into())].into_iter().gather())
    }

    /// The same with the name and the avatar of the user's profile, where this server has it.
    pub(crate) fn with_profile(mut self, view: &View<'_>, user: &UserId) -> Result<Self, Need> {
        let row = view.row(&profile_key(user))?;
        let profile: Map<String, Value> = row.and_then(|row| parse::json(&row).ok()).unwrap_or_default();
        let shown = IN_MEMBER_EVENTS.into_iter().filter_map(|field| profile.get_key_value(field));
        self.0.extend(shown.filter(|(_, value)| value.is_string()).map(|(field, value)| (field.clone(), value.clone())));
        Ok(self)
    }

    /// The same with one more field.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// The same with the reason, where one was given.
    pub(crate) fn with_reason(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.with("reason", reason),
            None => self,
        }
    }
}

impl From<MemberContent> for Value {
    fn from(content: MemberContent) -> Self {
        Self::Object(content.0)
    }
}

/// Asks for the profiles of all these users at once.
pub(crate) fn load_profiles<'a>(view: &View<'_>, users: impl Iterator<Item = &'a UserId>) -> Result<(), Need> {
    let mut need = Need::default();
    for user in users {
        if let Err(more) = view.row(&profile_key(user)) {
            need.merge(more);
        }
    }
    if need.is_empty() { Ok(()) } else { Err(need) }
}
