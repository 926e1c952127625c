//! What a room may say it is called: new aliases must lead to it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>

use ruma::{OwnedRoomAliasId, RoomAliasId, ServerName};
use serde_json::{Map, Value};

use crate::{
    directory::alias_in,
    error::Error,
    ordered::OrderedSet,
    room_server::{Draft, Undecided},
};

type Content = Map<String, Value>;

/// Checks the aliases that the new content adds. Those that are there already are not checked, nor those that go.
pub(super) fn check(draft: &Draft<'_>, server: &ServerName, before: &Content, after: &Content) -> Result<(), Undecided> {
    let known = aliases(before).unwrap_or_default();
    for alias in aliases(after)?.difference(&known) {
        let alias = parse(alias)?;
        // Another server's aliases are known to that server alone, and what cannot be checked does not count.
        let target = if alias.server_name() == server { alias_in(draft.view(), &alias)? } else { None };
        if target.is_none_or(|target| target.room_id != draft.room().id) {
            return Err(Error::refused(400, "M_BAD_ALIAS", format!("{alias} does not lead to this room.")).into());
        }
    }
    Ok(())
}

fn aliases(content: &Content) -> Result<OrderedSet<&str>, Error> {
    let invalid = || Error::invalid_param("Aliases are strings.");
    let others = match content.get("alt_aliases") {
        None | Some(Value::Null) => &[],
        Some(others) => others.as_array().ok_or_else(invalid)?.as_slice(),
    };
    let main = content.get("alias").filter(|alias| !alias.is_null() && alias.as_str() != Some(""));
    let mut aliases = OrderedSet::new();
    for alias in main.into_iter().chain(others) {
        aliases.insert(alias.as_str().ok_or_else(invalid)?);
    }
    Ok(aliases)
}

fn parse(alias: &str) -> Result<OwnedRoomAliasId, Error> {
    RoomAliasId::parse(alias).map_err(|_| Error::invalid_param(format!("{alias:?} is no room alias.")))
}
