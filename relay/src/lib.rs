//! The relay: a mail drop for nodes that are often offline, and the way to those that are there.
//!
//! [`server`] takes connections: a node's WebSocket goes to `socket`, where it proves its name and becomes a tunnel; a request, whether
//! it comes up a tunnel or over HTTP, goes to `relay`, which brings it to a tunnel, to another relay (`forward`), to a mailbox
//! ([`store`]), or answers from what the node has left (`deposit`). `mailbox` hands over what waits (`aside` says whose mail has to wait longer), `own` and `dendrite` are the
//! relay's own endpoints.
//!
//! Where the relay is a gateway, `gateway` takes the requests of ordinary homeservers, and `ordinary` asks them: found by `well_known`
//! and `dns`, connected to by `dial`, and believed by their `keys`.
//!
//! What is absent: nothing here reads an event, and nothing but the node itself decides on what a stored request means. A stored
//! request is never changed, since its sender has signed it for its receiver.

pub mod address;
pub mod clock;
pub mod config;
pub mod server;
pub mod store;
pub mod tls;

mod aside;
mod callers;
mod client;
mod content;
mod dendrite;
mod deposit;
mod dial;
mod dns;
mod forward;
mod gateway;
mod headers;
mod identity;
mod keys;
mod listen;
mod mailbox;
mod metrics;
mod nodes;
mod ordinary;
mod origin;
mod own;
mod pipe;
mod places;
mod relay;
mod reply;
mod serve;
mod socket;
mod target;
mod weight;
mod well_known;
