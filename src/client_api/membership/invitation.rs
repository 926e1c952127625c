//! Whether somebody can be invited at all, whatever the room says.

use ruma::UserId;
use serde_json::Value;

use crate::{
    account_data,
    error::Error,
    room_server::{Draft, Undecided},
};

/// Refuses an invitation that cannot be delivered, or that its receiver does not want.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>
pub(crate) fn check_invitation(draft: &Draft<'_>, sender: &UserId, invited: &UserId) -> Result<(), Undecided> {
    if invited.server_name() != sender.server_name() {
        // That user's own server asks them.
        return Ok(());
    }
    let config = account_data::content_in(draft.view(), invited, "m.invite_permission_config")?;
    if config.is_some_and(|config| config.get("default_action").and_then(Value::as_str) == Some("block")) {
        return Err(Error::refused(403, "M_INVITE_BLOCKED", format!("{invited} takes no invitations.")).into());
    }
    Ok(())
}
