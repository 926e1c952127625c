//! Signatures that a user makes with cross-signing keys: of own devices, of the own master key, of other users' master keys.
//!
//! Signatures of what is one's own stand in the signed object for everybody to see; those of other users' keys are seen by
//! their signer alone, and are kept apart.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#key-and-signature-security>

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    cross_signing::{self, CrossSigningKeys},
    device_keys_key,
    device_list::{self, Changes, DeviceList},
    remote,
    signed::Signed,
    signing_key_id,
};
use crate::{
    error::Error,
    gather::Gather,
    log::Output,
    ordered::OrderedMap,
    ports::Store,
    rows,
    server::Server,
    storage::{Batch, Key, Table},
};

/// Signed objects by user and key ID.
pub(crate) type NewSignatures = OrderedMap<OwnedUserId, OrderedMap<String, Signed>>;

/// What could not be stored, by user and key ID.
pub(crate) type Failures = OrderedMap<OwnedUserId, OrderedMap<String, Error>>;

/// A signature of another user's master key, by the signer's user-signing key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OfOther {
    /// The public master key that was signed.
    #[serde(rename = "m")]
    master: String,
    /// The ID of the key that signed.
    #[serde(rename = "k")]
    key_id: String,
    #[serde(rename = "s")]
    signature: String,
}

/// Stores the signatures that are right, and says what is wrong with the others.
pub(crate) async fn upload(server: &Server, signer: &UserId, new: NewSignatures) -> Result<Failures, Error> {
    let _lock = server.accounts.lock(signer).await;
    let own = CrossSigningKeys::read(&*server.ports.store, signer).await?;
    let mut failures = Failures::new();
    for (user, objects) in new {
        for (key_id, object) in objects {
            let stored = if user == signer {
                sign_own(server, signer, &own, &key_id, object).await
            } else {
                sign_other(server, signer, &own, &user, &key_id, object).await
            };
            match stored {
                Ok(()) => {}
                Err(error @ Error::Refused(_)) => drop(failures.entry(user.clone()).or_default().insert(key_id, error)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(failures)
}

/// Adds signatures to one of the signer's own devices, or to the own master key.
async fn sign_own(server: &Server, user: &UserId, own: &CrossSigningKeys, key_id: &str, new: Signed) -> Result<(), Error> {
    let store = &*server.ports.store;
    if let Some(device) = super::of_device(store, user, key_id).await? {
        let key = own.self_signing.as_ref().and_then(Signed::only_key);
        let mut keys = key.map(|(id, key)| (id.to_owned(), key.to_owned())).into_iter().gather::<OrderedMap<_, _>>();
        let of_device = signing_key_id(key_id);
        keys.extend(device.key(&of_device).map(|key| (of_device.clone(), key.to_owned())));
        let Some(signed) = signed_anew(user, device, &new, &keys)? else { return Ok(()) };
        return write_device(server, user, key_id, &signed).await;
    }
    // The lock is held since the signer's keys were read, but an earlier object of this request may have changed them.
    let master: Option<Signed> = rows::one(store, cross_signing::row_key(user, cross_signing::MASTER)).await?;
    let master = master.filter(|master| is_named(master, key_id)).ok_or_else(unknown)?;
    let devices = device_signing_keys(server, user, &new).await?;
    let Some(signed) = signed_anew(user, master, &new, &devices)? else { return Ok(()) };
    let mut batch = Batch::new();
    batch.put_json(cross_signing::row_key(user, cross_signing::MASTER), &signed);
    cross_signing::write_change(server, user, batch).await
}

/// The signing keys of the user's devices that have signed this.
async fn device_signing_keys(server: &Server, user: &UserId, signed: &Signed) -> Result<OrderedMap<String, String>, Error> {
    let mut keys = OrderedMap::new();
    for (id, _) in signed.signatures_by(user) {
        let Some((_, device)) = id.split_once(':') else { continue };
        let device = super::of_device(&*server.ports.store, user, device).await?;
        keys.extend(device.as_ref().and_then(|device| device.key(id)).map(|key| (id.to_owned(), key.to_owned())));
    }
    Ok(keys)
}

/// What is stored, with the new signatures; `None` where there is no new one. Each must be made with one of these keys.
fn signed_anew(user: &UserId, stored: Signed, new: &Signed, keys: &OrderedMap<String, String>) -> Result<Option<Signed>, Error> {
    if !stored.says_the_same_as(new) {
        return Err(Error::invalid_param("What was signed is not what is stored here."));
    }
    let mut signed = stored.clone();
    for (key_id, signature) in new.signatures_by(user) {
        if stored.signatures_by(user).any(|known| known == (key_id, signature)) {
            continue;
        }
        let is_right = keys.get(key_id).is_some_and(|key| new.is_signed_by(user, key_id, key));
        if !is_right {
            return Err(invalid(key_id));
        }
        signed.sign(user, key_id, signature);
    }
    Ok((signed != stored).then_some(signed))
}

async fn write_device(server: &Server, user: &UserId, device: &str, keys: &Signed) -> Result<(), Error> {
    let list = DeviceList::read(&*server.ports.store, user).await?;
    let changes = Changes::of_devices(vec![device.to_owned()]);
    let appending = server.log.append(|positions| {
        let mut batch = Batch::new();
        batch.put_json(device_keys_key(user, device), keys);
        list.write(user, &changes, positions, &mut batch);
        batch
    });
    appending.await
}

/// Keeps a signature of another user's master key for its signer.
async fn sign_other(
    server: &Server,
    signer: &UserId,
    own: &CrossSigningKeys,
    user: &UserId,
    key_id: &str,
    new: Signed,
) -> Result<(), Error> {
    let store = &*server.ports.store;
    let master = master_of(server, user).await?.filter(|master| is_named(master, key_id)).ok_or_else(unknown)?;
    if !master.says_the_same_as(&new) {
        return Err(Error::invalid_param("What was signed is not what is stored here."));
    }
    let no_key = || Error::invalid_param("You have no user-signing key.");
    let (id, public_key) = own.user_signing.as_ref().and_then(Signed::only_key).ok_or_else(no_key)?;
    let signature = new.signatures_by(signer).find(|(by, _)| *by == id).map(|(_, signature)| signature.to_owned());
    let signature = signature.filter(|_| new.is_signed_by(signer, id, public_key)).ok_or_else(|| invalid(id))?;
    let of_other = OfOther { master: key_id.to_owned(), key_id: id.to_owned(), signature };
    if rows::one::<OfOther>(store, row_key(signer, user)).await?.as_ref() == Some(&of_other) {
        return Ok(());
    }
    let appending = server.log.append(|positions| {
        let mut batch = Batch::new();
        let position = positions.assign(Output::UserSignature { user: signer.to_owned(), of: user.to_owned() });
        batch.put_json(row_key(signer, user), &of_other);
        device_list::tell_one(signer, user, position, &mut batch);
        batch
    });
    appending.await
}

/// The master key of a local user, or as another server has told it.
async fn master_of(server: &Server, user: &UserId) -> Result<Option<Signed>, Error> {
    if user.server_name() == server.name() {
        return Ok(CrossSigningKeys::read(&*server.ports.store, user).await?.master);
    }
    Ok(remote::cached(&*server.ports.store, user).await?.and_then(|list| list.master_key))
}

/// Adds to another user's master key the signature that the viewer has made.
pub(super) async fn add_viewers(store: &dyn Store, viewer: &UserId, user: &UserId, master: &mut Signed) -> Result<(), Error> {
    let of_other: Option<OfOther> = rows::one(store, row_key(viewer, user)).await?;
    if let Some(OfOther { key_id, signature, .. }) = of_other.filter(|of_other| is_named(master, &of_other.master)) {
        master.sign(viewer, &key_id, &signature);
    }
    Ok(())
}

fn is_named(key: &Signed, public_key: &str) -> bool {
    key.only_key().is_some_and(|(_, named)| named == public_key)
}

fn unknown() -> Error {
    Error::not_found("There is no such key.")
}

fn invalid(key_id: &str) -> Error {
    Error::refused(400, "M_INVALID_SIGNATURE", format!("The signature by {key_id} is not valid."))
}

fn row_key(signer: &UserId, user: &UserId) -> Key {
    Key::new(Table::KeySignatures).text(signer.as_str()).text(user.as_str())
}
