//! What a host may choose.

/// The server's settings, with defaults fit for a person's own browser.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The server's name, used when its identity is made; made of its key where this is `None`.
    pub server_name: Option<String>,
    /// Whether and how fast clients are slowed down; `None` switches the limits off.
    pub rate_limits: Option<RateLimits>,
}

/// How many requests a client may make.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests that may come each second in the long run.
    pub per_second: u32,
}
