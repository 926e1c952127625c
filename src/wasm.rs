//! The browser's face of the server: the handle that JavaScript holds, and the adapters under the five ports.
//!
//! Nothing outside this module knows of a browser. A service worker makes one [`Node`] and hands it requests.

mod blobs;
mod bodies;
mod clock;
mod entropy;
mod indexed_db;
mod kept;
mod node;
mod options;
mod panic;
mod request;
mod response;
mod sockets;
mod thumbnail;
mod web_socket;

pub use self::{blobs::BrowserBlobs, bodies::Bodies, indexed_db::IndexedDbStore, node::Node};
