//! User names: which ones an account may have, and whom a name stands for.

use base32ct::{Base32Unpadded, Encoding};
use ruma::{OwnedUserId, UserId};

use crate::{error::Error, ports::Entropy, server::Server};

/// A user ID, its sigil and server name included, has at most this many bytes.
///
/// <https://spec.matrix.org/v1.19/appendices/#user-identifiers>
const MAX_USER_ID_BYTES: usize = 255;

/// So many random bytes make a name where the client chose none: few enough to be typed, enough not to meet another.
const GENERATED_BYTES: usize = 5;

/// The ID of a new user of that name. Capital letters become small ones, so that no two users differ by case alone.
///
/// <https://spec.matrix.org/v1.19/appendices/#user-identifiers>
pub(crate) fn new_user_id(server: &Server, username: &str) -> Result<OwnedUserId, Error> {
    let localpart = username.to_ascii_lowercase();
    if localpart.is_empty() || !localpart.bytes().all(may_stand_in_new_name) {
        return Err(invalid("A user name may have letters a to z, digits and . _ = - / + only."));
    }
    let id = format!("@{localpart}:{}", server.name());
    if id.len() > MAX_USER_ID_BYTES {
        return Err(invalid("This user name is too long."));
    }
    UserId::parse(id).map_err(|_| invalid("This cannot be a user name."))
}

/// The ID of a new user who chose no name.
pub(crate) fn generated_user_id(server: &Server, entropy: &dyn Entropy) -> Result<OwnedUserId, Error> {
    let mut bytes = [0; GENERATED_BYTES];
    entropy.fill(&mut bytes);
    new_user_id(server, &Base32Unpadded::encode_string(&bytes))
}

/// The user that somebody means who logs in: by a full ID or its local part, of today's grammar or an older one.
///
/// <https://spec.matrix.org/v1.19/appendices/#historical-user-ids>
pub(crate) fn named_user_id(server: &Server, name: &str) -> Option<OwnedUserId> {
    let id = if name.starts_with('@') { name.to_owned() } else { format!("@{name}:{}", server.name()) };
    UserId::parse(id).ok().filter(|user| user.server_name().as_str() == server.name())
}

fn may_stand_in_new_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+')
}

fn invalid(message: &str) -> Error {
    Error::refused(400, "M_INVALID_USERNAME", message)
}
