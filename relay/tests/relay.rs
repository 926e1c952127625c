//! The relay as its nodes, other relays and strangers see it: over real sockets, on real disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "relay/ancestor.rs"]
mod ancestor;
#[path = "relay/attach.rs"]
mod attach;
#[path = "relay/away.rs"]
mod away;
#[path = "relay/budget.rs"]
mod budget;
#[path = "relay/forward.rs"]
mod forward;
#[path = "relay/fuzz.rs"]
mod fuzz;
#[path = "relay/gateway.rs"]
mod gateway;
#[path = "relay/limits.rs"]
mod limits;
#[path = "../protocol/tests/fuzz/mutation.rs"]
mod mutation;
#[path = "relay/ordinary.rs"]
mod ordinary;
#[path = "relay/outside.rs"]
mod outside;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/support.rs"]
mod support;
