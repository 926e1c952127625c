//! Opening sessions: the one way by which registration, login and refresh give out tokens.

use base32ct::{Base32UpperUnpadded, Encoding};
use ruma::{OwnedUserId, UserId, serde::Base64};
use serde::Serialize;

use super::{
    Account, account_key,
    devices::{self, Device, device_key},
    tokens::{Kind, NewToken, TokenPair, TokenRow, hash_token, token_key},
};
use crate::{
    account_data::{self, NewAccountData},
    error::Error,
    keys::{
        cross_signing,
        device_list::{Changes, DeviceList},
    },
    push::rules,
    server::Server,
    storage::Batch,
};

/// How long an access token is valid that can be refreshed, in milliseconds: an hour, since each refresh is a durable commit.
const ACCESS_TOKEN_LIFETIME: u64 = 60 * 60 * 1000;

/// So many random bytes make a device ID of ten letters and digits.
const DEVICE_ID_BYTES: usize = 6;

/// The largest device ID that a client may choose: it is part of keys.
const MAX_DEVICE_ID_BYTES: usize = 255;

/// What a client asks for when it logs in.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewSession {
    pub(crate) device_id: Option<String>,
    pub(crate) initial_device_display_name: Option<String>,
    /// Whether the client can refresh its tokens.
    pub(crate) refresh_token: bool,
}

/// What a client is given when a session is opened or refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Credentials {
    pub(crate) device_id: String,
    pub(crate) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<u64>,
}

/// Makes an account, and opens a session for it if one is asked for.
pub(crate) async fn register(
    server: &Server,
    user: &UserId,
    password: String,
    session: Option<NewSession>,
) -> Result<Option<Credentials>, Error> {
    let _lock = server.accounts.lock(user).await;
    if server.accounts.account(user).await?.is_some() {
        return Err(user_in_use());
    }
    let mut batch = Batch::new();
    batch.put_json(account_key(user), &Account { password: Some(password), created_at: server.now(), deactivated: false });
    let credentials = session.map(|session| issue_first(server, user, session, None, &mut batch)).transpose()?;
    let appending = server.log.append(|positions| {
        if let Some(credentials) = &credentials {
            DeviceList::default().write(user, &new_device(credentials), positions, &mut batch);
        }
        let rules = NewAccountData { user, room: None, kind: rules::KIND, content: rules::predefined(user), replaces: None };
        account_data::write(rules, positions, &mut batch);
        batch
    });
    appending.await?;
    server.deposits_changed.raise();
    Ok(credentials)
}

/// 400 `M_USER_IN_USE`.
pub(crate) fn user_in_use() -> Error {
    Error::refused(400, "M_USER_IN_USE", "This user name is taken.")
}

/// Opens a session for a user who has shown who they are.
pub(crate) async fn log_in(server: &Server, user: &UserId, session: NewSession) -> Result<Credentials, Error> {
    let _lock = server.accounts.lock(user).await;
    // The account may have been deactivated while its password was checked.
    if !server.accounts.is_active(user).await? {
        return Err(Error::refused(403, "M_USER_DEACTIVATED", "This account was deactivated."));
    }
    let known = match &session.device_id {
        Some(device) if cross_signing::is_public_key(&*server.ports.store, user, device).await? => {
            return Err(Error::forbidden("This device ID is one of your cross-signing keys."));
        }
        Some(device) => server.accounts.device(user, device).await?,
        None => None,
    };
    let is_known = known.is_some();
    let mut batch = Batch::new();
    let credentials = issue_first(server, user, session, known, &mut batch)?;
    let changes = if is_known { Changes::default() } else { new_device(&credentials) };
    let appended = devices::append(server, user, changes, batch).await;
    server.accounts.forget_sessions(user);
    appended?;
    Ok(credentials)
}

/// The step of the device list by which a device comes. Without keys it is nothing to clients yet.
fn new_device(credentials: &Credentials) -> Changes {
    Changes { is_minor: true, ..Changes::of_devices(vec![credentials.device_id.clone()]) }
}

/// Exchanges a refresh token for new tokens. `None` where it is not valid.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens>
pub(crate) async fn refresh(server: &Server, token: &str) -> Result<Option<Credentials>, Error> {
    let hash = hash_token(token);
    let Some(row) = refresh_token(server, &hash).await? else { return Ok(None) };
    let _lock = server.accounts.lock(&row.user).await;
    // It may have been withdrawn while the lock was waited for.
    let Some(row) = refresh_token(server, &hash).await? else { return Ok(None) };
    let Some(mut device) = server.accounts.device(&row.user, &row.device).await? else { return Ok(None) };
    let mut batch = Batch::new();
    device.confirm(&hash, &mut batch);
    if let Some(lost) = device.refreshed.take() {
        lost.delete(&mut batch);
    }
    let (credentials, tokens) = issue(server, &row.user, &device.device_id, true, &mut batch);
    device.refreshed = Some(tokens);
    batch.put_json(device_key(&row.user, &device.device_id), &device);
    let committed = server.ports.store.commit(batch).await;
    server.accounts.forget_sessions(&row.user);
    committed?;
    Ok(Some(credentials))
}

async fn refresh_token(server: &Server, hash: &[u8; 32]) -> Result<Option<TokenRow>, Error> {
    let row: Option<TokenRow> = server.accounts.read(token_key(hash)).await?;
    Ok(row.filter(|row| row.kind == Kind::Refresh))
}

/// Issues the first tokens of a session, on a new device or in place of those of a known one.
fn issue_first(
    server: &Server,
    user: &UserId,
    session: NewSession,
    known: Option<Device>,
    batch: &mut Batch,
) -> Result<Credentials, Error> {
    let device_id = match session.device_id.filter(|id| !id.is_empty()) {
        Some(id) if id.len() > MAX_DEVICE_ID_BYTES => return Err(Error::invalid_param("This device ID is too long.")),
        Some(id) => id,
        None => Base32UpperUnpadded::encode_string(&server.random::<DEVICE_ID_BYTES>()),
    };
    if let Some(known) = &known {
        known.delete_tokens(batch);
    }
    let (credentials, tokens) = issue(server, user, &device_id, session.refresh_token, batch);
    let display_name = known.map_or(session.initial_device_display_name, |known| known.display_name);
    let device = Device { device_id, display_name, last_seen_ts: server.now(), tokens, refreshed: None };
    batch.put_json(device_key(user, &device.device_id), &device);
    Ok(credentials)
}

fn issue(server: &Server, user: &UserId, device: &str, refreshable: bool, batch: &mut Batch) -> (Credentials, TokenPair) {
    let lifetime = refreshable.then_some(ACCESS_TOKEN_LIFETIME);
    let mut store = |kind, expires| {
        let token = NewToken::make(&*server.ports.entropy);
        let row = TokenRow { user: OwnedUserId::from(user), device: device.to_owned(), kind, expires };
        batch.put_json(token_key(&token.hash), &row);
        token
    };
    let access = store(Kind::Access, lifetime.map(|lifetime| server.now() + lifetime));
    let refresh = refreshable.then(|| store(Kind::Refresh, None));
    let tokens =
        TokenPair { access: Base64::new(access.hash.to_vec()), refresh: refresh.as_ref().map(|token| Base64::new(token.hash.to_vec())) };
    let credentials = Credentials {
        device_id: device.to_owned(),
        access_token: access.text,
        refresh_token: refresh.map(|token| token.text),
        expires_in_ms: lifetime,
    };
    (credentials, tokens)
}
