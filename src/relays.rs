//! The relays that this server is attached to, and where other servers can be found.
//!
//! A server that nobody can connect to keeps a tunnel to each of its relays: other servers' requests come down, its own go
//! up. It publishes its relays in a signed node record, and learns other servers' records.

mod answers;
mod attachment;
mod carry;
mod deposits;
mod inbound;
mod keeping;
mod records;
mod seeking;
mod settings;
mod socket;
mod transport;

pub(crate) use self::{records::NodeRecords, seeking::run as seek_records, settings::OwnRelays};
pub use self::{
    socket::{Message, SUPERSEDED, Socket, Sockets},
    transport::RelayTransport,
};

#[cfg(test)]
mod tests;
