//! Inglenook: a Matrix homeserver that lives in a browser.

pub mod config;
pub mod error;
pub mod http;
pub mod ports;
pub mod server;
pub mod storage;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use self::{config::Config, server::{Ports, Server}};
