//! Two people with the unmodified matrix-sdk, on one homeserver or two, who write to each other encrypted, before and after a restart.
//!
//! `inglenook-matrix-sdk ALICE_URL [BOB_URL]`: base URLs of homeservers on which anybody may register with a user name and a password.
//! When it has said all that there is to say before a restart it prints `restart`, and goes on once it has read a line, or the end,
//! of its standard input: whoever runs it restarts the homeservers in the meantime, or does not. What it does goes to standard error.

// The futures of the SDK are deep.
#![recursion_limit = "256"]

mod heard;
mod person;
mod story;

use anyhow::{Context, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut urls = std::env::args().skip(1);
    let alice = urls.next().context("usage: inglenook-matrix-sdk ALICE_URL [BOB_URL]")?;
    let bob = urls.next().unwrap_or_else(|| alice.clone());
    story::tell(&alice, &bob).await
}
