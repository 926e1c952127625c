//! What a node, its relays and their peers say to each other. No input or output happens here: byte streams, keys and times come from
//! the caller, so that the relay (native, tokio) and the node (wasm, a browser's `WebSocket`) run the same code.
//!
//! A node dials `GET /_inglenook/relay/v1/tunnel` as a WebSocket. Three text messages prove who it is ([`handshake`]); from then on
//! binary messages carry a byte stream ([`socket`]), on which both sides open requests ([`tunnel`]) written as [`message`]s.
//!
//! ```text
//! let socket = ByteSocket::new(messages);                    // a Stream and Sink of Vec<u8>
//! let (tunnel, driver) = tunnel::start(socket, Side::Node, |request| async { response });
//! spawn(driver);                                             // ends when the tunnel does
//! let response = tunnel.request(request).await?;             // bodies are streams, in both directions
//! ```

pub mod answer;
pub mod deposit;
pub mod handshake;
pub mod key_name;
pub mod limits;
pub mod message;
pub mod node_record;
pub mod path;
pub mod signed;
pub mod socket;
pub mod tunnel;
pub mod x_matrix;
