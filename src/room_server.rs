//! The room server: the one that decides on each event and appends it to the log.
//!
//! Load, decide, commit, notify. Under the room's lock a *draft* is decided by pure functions over a [`View`]; what the view
//! does not hold yet comes back as a [`Need`], is loaded, and the decision is made again. A decision that holds is committed
//! as one batch, and only then seen by readers.

mod accept;
mod auth;
pub(crate) mod cache;
pub(crate) mod commit;
pub(crate) mod cover;
pub(crate) mod draft;
pub(crate) mod first_members;
mod graph;
pub(crate) mod head;
pub(crate) mod import;
pub(crate) mod memberships;
pub(crate) mod number;
pub(crate) mod outside;
pub(crate) mod policy;
pub(crate) mod power;
mod receive;
pub(crate) mod redact;
pub(crate) mod relation;
pub(crate) mod residents;
mod resolve;
mod resolve_v1;
pub(crate) mod room;
pub(crate) mod room_log;
mod shell;
mod sift;
pub(crate) mod snapshot;
pub(crate) mod stored;
mod template;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    draft::Draft,
    number::{EventNumber, Position, RoomNumber},
    power::PowerLevels,
    receive::{Input, InputKind, Verdict},
    room::Room,
    shell::RoomServer,
    view::{Need, Needed, Undecided, View},
};
