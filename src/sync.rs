//! Sync: what a client has not seen yet, as a reader of the log.
//!
//! A sync answers from one window of the log, `since` to `upto`; whatever is committed meanwhile belongs to the next one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#syncing>

mod events;
mod handler;
mod initial;
mod joined;
mod left;
mod rooms;
mod state;
mod summary;
mod timeline;
mod window;

pub(crate) use self::rooms::{RoomOfUser, rooms_of};
use crate::client_api::Route;

/// The routes that sync answers.
pub(crate) const ROUTES: &[&[Route]] = &[handler::ROUTES, initial::ROUTES, events::ROUTES];
