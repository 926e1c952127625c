//! Tests of the federation receiver from within: one server, and others that the test plays, honestly or not.

mod edus;
mod gaps;
mod keys;
mod lies;
mod rejected;
mod scene;
mod space;
mod strangers;
