//! Sync: what a client has not seen yet, as a reader of the log.
//!
//! A sync answers from one window of the log, `since` to `upto`; whatever is committed meanwhile belongs to the next one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod beside;
mod device_lists;
mod events;
mod handler;
mod initial;
mod joined;
mod left;
mod presence;
mod rooms;
mod state;
mod summary;
mod timeline;
mod turns;
mod window;

pub(crate) use self::{
    beside::device_list_changes,
    events::ROUTES as EVENTS_ROUTES,
    handler::{ROUTES, read_token},
    initial::ROUTES as INITIAL_SYNC_ROUTES,
    rooms::RoomOfUser,
    turns::Turns,
    window::Window,
};
