//! Push rules: what a user wants to be notified of.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-notifications>

pub(crate) mod evaluate;
pub(crate) mod glob;
pub(crate) mod rules;
pub(crate) mod ruleset;
pub(crate) mod unread;
