//! Media that are announced before they are uploaded: whoever asks for one waits a while.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

use futures_util::future::select;

use super::{Content, find};
use crate::{error::Error, server::Server};

/// How long a download waits for what is not uploaded yet, if who asks does not say.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>
const DEFAULT_WAIT: u64 = 20_000;

/// The longest that a download waits: a browser ends a worker that lets a request wait for longer.
const MAX_WAIT: u64 = 25_000;

/// The local medium of that ID, once it is uploaded.
pub(crate) async fn uploaded(server: &Server, id: &str, timeout: Option<u64>) -> Result<Content, Error> {
    let deadline = server.now() + timeout.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
    loop {
        let changed = server.log.changed();
        let medium = find(server, id).await?.ok_or_else(|| Error::not_found("There is no such file."))?;
        if let Some(content) = medium.content {
            return Ok(content);
        }
        let now = server.now();
        if server.is_stopping() || now >= deadline {
            return Err(Error::refused(504, "M_NOT_YET_UPLOADED", "This file is not uploaded yet."));
        }
        select(Box::pin(changed), server.ports.clock.sleep(deadline - now)).await;
    }
}
