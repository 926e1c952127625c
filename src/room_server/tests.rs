//! Tests of the room server from within: small worlds of servers that exchange events.

mod auth_graph;
mod consistency;
mod convergence;
mod cost;
mod durability;
mod entry;
mod per_version;
mod random;
mod readers;
mod receipt;
mod redactions;
mod resolution;
mod resolution_oracle;
pub(crate) mod world;

pub(crate) use crate::support;
