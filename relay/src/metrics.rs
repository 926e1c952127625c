//! What the operator can watch, in the form that Prometheus reads.

use std::sync::atomic::AtomicU64;

use inglenook_protocol::path::Outcome;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    outcome: &'static str,
}

/// Which limit was reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabel {
    limit: &'static str,
}

/// Counters and gauges. They count from the start of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Nodes that are attached.
    pub(crate) tunnels: Gauge,
    /// Tunnels that were opened.
    pub(crate) attached: Counter,
    /// Handshakes that were refused.
    pub(crate) refused: Counter,
    /// Tunnels that another one of the same name has taken the place of.
    pub(crate) superseded: Counter,
    requests: Family<OutcomeLabel, Counter>,
    limited: Family<LimitLabel, Counter>,
    /// Bytes of requests in memory.
    pub(crate) request_bytes: Gauge<u64, AtomicU64>,
    /// Requests that were handed to another relay.
    pub(crate) forwarded: Counter,
    /// Requests over HTTPS for the gateway's names.
    pub(crate) gateway_in: Counter,
    /// Requests of nodes to ordinary servers.
    pub(crate) gateway_out: Counter,
    /// Those of them that got no answer.
    pub(crate) gateway_failed: Counter,
    /// Stored requests that their node has taken.
    pub(crate) handed_over: Counter,
    /// Deposits that nodes have left, new or anew.
    pub(crate) deposits: Counter,
    /// Stored requests that nobody wanted in time.
    pub(crate) expired: Counter,
    /// Requests that wait.
    pub(crate) waiting: Gauge<u64, AtomicU64>,
    /// Their bytes.
    pub(crate) waiting_bytes: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let mut registry = Registry::with_prefix("inglenook_relay");
        registry.register("tunnels", "Nodes that are attached", metrics.tunnels.clone());
        registry.register("attached", "Tunnels that were opened", metrics.attached.clone());
        registry.register("handshakes_refused", "Handshakes that were refused", metrics.refused.clone());
        registry.register("superseded", "Tunnels that another of the same name took the place of", metrics.superseded.clone());
        registry.register("requests", "Requests by what became of them", metrics.requests.clone());
        registry.register("limited", "What was refused for a limit", metrics.limited.clone());
        registry.register_with_unit("requests", "What requests in memory weigh", Unit::Bytes, metrics.request_bytes.clone());
        registry.register("forwarded", "Requests that were handed to another relay", metrics.forwarded.clone());
        registry.register("gateway_in", "Requests for the gateway's names", metrics.gateway_in.clone());
        registry.register("gateway_out", "Requests of nodes to ordinary servers", metrics.gateway_out.clone());
        registry.register("gateway_failed", "Requests to ordinary servers that got no answer", metrics.gateway_failed.clone());
        registry.register("handed_over", "Stored requests that their node has taken", metrics.handed_over.clone());
        registry.register("deposits", "Deposits that nodes have left, new or anew", metrics.deposits.clone());
        registry.register("expired", "Stored requests that nobody took in time", metrics.expired.clone());
        registry.register("waiting", "Requests that wait", metrics.waiting.clone());
        registry.register_with_unit("waiting", "What the requests that wait weigh", Unit::Bytes, metrics.waiting_bytes.clone());
        metrics.registry = registry;
        metrics
    }

    /// Counts a request.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.requests.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// Counts a request or connection that was refused for this limit.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// The text that is answered.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
