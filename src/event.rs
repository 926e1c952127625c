//! Events: from bytes that anybody may have sent to a PDU that may be stored, and to what a client sees of it.
//!
//! [`RawPdu`] is JSON of unknown worth; [`CheckedPdu`] has the right format, hashes and signatures. Only the room server
//! makes an authorised event of it.

mod build;
mod pdu;
mod raw;
mod version;

#[cfg(test)]
mod tests;

pub(crate) use self::pdu::Reference;
pub use self::{
    build::{NewEvent, Placement},
    pdu::Pdu,
    raw::{CheckedPdu, PublicKeys, RawPdu, Unfit},
    version::{DEFAULT_ROOM_VERSION, RoomVersion, STABLE_ROOM_VERSIONS},
};
