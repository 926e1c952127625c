//! Inglenook: a Matrix homeserver that lives in a browser.

pub mod config;
pub mod error;
pub mod http;
pub mod ports;
pub mod server;
pub mod storage;

pub use self::{config::Config, server::{Ports, Server}};
