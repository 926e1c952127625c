//! Scenes of delivery: one server of our own that sends, and others that the test answers for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod away;
mod crashes;
mod relays;

mod routing;
mod scene;
mod wrong;

use crate::support;
