//! The caller's own account: who they are, their password, and its end.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-account-management>

use ruma::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Access, Call, Route, handler, interactive_auth,
    membership::{Intent, change_membership},
    registration::check_strength,
};
use crate::{
    accounts::{Account, account_key, deactivation, devices, passwords},
    error::Error,
    http::{Method, Response},
    profiles,
    server::Server,
    storage::Batch,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/account/whoami", access: Access::Token, handler: handler!(whoami) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/account/password", access: Access::Token, handler: handler!(password) },
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/account/deactivate",
        access: Access::Token,
        handler: handler!(deactivate),
    },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami>
async fn whoami(call: Call) -> Result<Response, Error> {
    let caller = call.caller()?;
    Ok(Response::ok(&json!({ "user_id": caller.user, "device_id": caller.device, "is_guest": false })))
}

#[derive(Deserialize)]
struct NewPassword {
    auth: Option<Value>,
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>
async fn password(call: Call) -> Result<Response, Error> {
    let NewPassword { auth, new_password, logout_devices } = call.body()?;
    check_strength(&new_password)?;
    if let Some(challenge) = interactive_auth::require_password(&call, auth).await? {
        return Ok(challenge);
    }
    let (server, caller) = (&call.server, call.caller()?);
    let hash = passwords::hash(&new_password, &*server.ports.entropy)?;
    {
        let _lock = server.accounts.lock(&caller.user).await;
        let account = server.accounts.account(&caller.user).await?.filter(|account| !account.deactivated);
        let account = account.ok_or_else(|| Error::forbidden("This account was deactivated."))?;
        let mut batch = Batch::new();
        batch.put_json(account_key(&caller.user), &Account { password: Some(hash), ..account });
        server.ports.store.commit(batch).await?;
    }
    if logout_devices {
        devices::delete(server, &caller.user, |device| device.device_id != caller.device).await?;
    }
    Ok(Response::empty())
}

#[derive(Deserialize)]
struct Deactivation {
    auth: Option<Value>,
    #[serde(default)]
    erase: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>
async fn deactivate(call: Call) -> Result<Response, Error> {
    let Deactivation { auth, erase } = call.body()?;
    if let Some(challenge) = interactive_auth::require_password(&call, auth).await? {
        return Ok(challenge);
    }
    // Rooms come first: if this is cut off, the user can still log in and ask again.
    leave_all_rooms(&call.server, call.user()?).await?;
    deactivation::deactivate(&call.server, call.user()?, erase).await?;
    // No third-party identifier was ever bound from here, so there is none left to unbind.
    Ok(Response::ok(&json!({ "id_server_unbind_result": "success" })))
}

async fn leave_all_rooms(server: &Server, user: &UserId) -> Result<(), Error> {
    for (room, membership) in profiles::rooms_of(server, user).await? {
        if !matches!(membership.as_str(), "join" | "invite" | "knock") {
            continue;
        }
        match change_membership(server, &room, Intent::Leave, user, user, None).await {
            // A room that does not let its members go must not keep the account alive.
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
