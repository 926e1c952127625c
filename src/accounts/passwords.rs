//! Passwords: how they are hashed and checked.
//!
//! Hashing stalls the only thread there is, so it is called before any lock is taken.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};

use crate::{error::Error, ports::Entropy};

/// Memory that a hash fills, in KiB. A wasm instance never gives memory back, so little of it is worth more passes.
const MEMORY_KIB: u32 = 7 * 1024;

/// How often the memory is filled. With 7 MiB, five passes are as strong as two with 19 MiB, and stall the server no longer.
///
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>
const PASSES: u32 = 5;

/// More lanes help only who has more threads.
const LANES: u32 = 1;

/// The length of a salt in bytes, as recommended in RFC 9106.
const SALT_BYTES: usize = 16;

/// The hash of a password, in PHC format.
pub(crate) fn hash(password: &str, entropy: &dyn Entropy) -> Result<String, Error> {
    let mut salt = [0; SALT_BYTES];
    entropy.fill(&mut salt);
    hash_with(password, &salt)
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, Error> {
    let salt = SaltString::encode_b64(salt).map_err(bug)?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(bug)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(argon2.hash_password(password.as_bytes(), &salt).map_err(bug)?.to_string())
}

/// Whether this is the password of that hash.
///
/// Without a hash it takes the same time to say no, so that nobody learns from the time which users there are.
pub(crate) fn verify(password: &str, hash: Option<&str>) -> Result<bool, Error> {
    let Some(hash) = hash else {
        hash_with(password, &[0; SALT_BYTES])?;
        return Ok(false);
    };
    // The parameters are those in the hash, which may be older than the ones above.
    let hash = PasswordHash::new(hash).map_err(bug)?;
    Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn bug(error: impl std::fmt::Display) -> Error {
    Error::bug(format!("a password could not be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_verified() {
        let hash = hash_with("correct horse", &[7; SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
        assert!(verify("correct horse", Some(&hash)).unwrap());
        assert!(!verify("correct horsf", Some(&hash)).unwrap());
        assert!(!verify("correct horse", None).unwrap());
    }

    #[test]
    fn hashes_with_other_parameters_are_still_verified() {
        let salt = SaltString::encode_b64(&[9; SALT_BYTES]).unwrap();
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let hash = cheap.hash_password(b"staple", &salt).unwrap().to_string();
        assert!(verify("staple", Some(&hash)).unwrap());
        assert!(!verify("stable", Some(&hash)).unwrap());
    }
}
