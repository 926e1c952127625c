//! JavaScript's face of the server: the handle that it holds, and the adapters under the five ports.
//!
//! Nothing outside this module knows of a browser. A service worker makes one [`Node`] and hands it requests; another host does the
//! same, and hands in what a browser would have offered.

mod blobs;
mod bodies;
mod clock;
mod entropy;
mod host;
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

pub use self::{
    blobs::BrowserBlobs,
    bodies::Bodies,
    host::{Host, HostStore},
    indexed_db::IndexedDbStore,
    node::Node,
};
