//! Inglenook: a Matrix homeserver that lives in a browser.

mod account_data;
mod accounts;
mod arrange;
mod background;
mod client_api;
mod client_event;
pub mod config;
mod directory;
mod erasure;
pub mod error;
pub mod event;
mod federation;
mod federation_api;
mod federation_client;
mod federation_receiver;
mod federation_sender;
mod filter;
mod gather;
mod history;
pub mod http;
pub mod identity;
mod kept_rows;
mod key_backup;
mod keys;
mod locks;
pub mod log;
mod media;
mod notary;
pub mod ordered;
mod parse;
mod pending_joins;
mod policy_servers;
pub mod ports;
mod presence;
mod profiles;
mod push;
mod pushers;
mod rate_limits;
mod receipts;
mod recent_requests;
mod relations;
pub mod relays;
pub mod room_server;
mod route;
mod rows;
mod sections;
pub mod server;
mod server_acl;
mod server_sight;
mod sharing;
mod sight;
mod signal;
pub mod storage;
mod sync;
#[cfg(test)]
mod tests;
mod to_device;
mod tokens;
mod transactions;
mod typing;
mod visibility;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

// The tests' host names this crate as its users do.
#[cfg(test)]
extern crate self as inglenook;

pub use self::{
    client_api::routes,
    config::Config,
    federation_api::routes as federation_routes,
    server::{Ports, Server},
};
