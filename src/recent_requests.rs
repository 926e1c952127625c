//! The last requests and how long they took, for people who want to watch their server work.

use std::collections::VecDeque;

use serde::Serialize;

/// So many requests are remembered.
const REMEMBERED: usize = 200;

/// A request that was answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AnsweredRequest {
    /// When it came, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// How long the answer took, in milliseconds.
    pub(crate) millis: u64,
}

/// The last requests, newest first.
#[derive(Default)]
pub(crate) struct RecentRequests(VecDeque<AnsweredRequest>);

impl RecentRequests {
    pub(crate) fn remember(&mut self, request: AnsweredRequest) {
        self.0.push_front(request);
        self.0.truncate(REMEMBERED);
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &AnsweredRequest> {
        self.0.iter()
    }
}
