//! What a host may choose.

use ruma::OwnedServerName;

use crate::identity::Name;

/// The server's settings, with defaults fit for a person's own browser.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The server's name, used when its identity is made; made of its key where this is `None`.
    pub server_name: Option<String>,
    /// The domain of a gateway, below which the server's name is made of its key; nothing where `server_name` says it all. Used when its
    /// identity is made.
    pub gateway: Option<String>,
    /// Where clients reach this server; taken from the request's `host` header where this is `None`.
    pub base_url: Option<String>,
    /// Servers that are asked about the keys of others that cannot be asked themselves; two must agree.
    pub notaries: Vec<OwnedServerName>,
    /// The base URLs of the relays that it uses until its owner chooses others.
    pub relays: Vec<String>,
    /// Who may make an account.
    pub registration: Registration,
    /// Whether and how fast clients are slowed down; `None` switches the limits off.
    pub rate_limits: Option<RateLimits>,
}

impl Config {
    /// How the server is to be named.
    pub(crate) fn name(&self) -> Name<'_> {
        match (&self.server_name, &self.gateway) {
            (Some(name), _) => Name::Given(name),
            (None, Some(domain)) => Name::Below(domain),
            (None, None) => Name::OfKey,
        }
    }
}

/// Who may make an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Whoever reaches this server.
    #[default]
    Open,
    /// Whoever knows this token.
    WithToken(String),
    /// Nobody.
    Closed,
}

/// How many requests a client may make.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests of one user that may come at once.
    pub burst: u32,
    /// Requests of one user that may come each second in the long run.
    pub per_second: u32,
    /// Attempts to log in or register under one name that may come at once.
    pub sign_ins: u32,
    /// Attempts to log in or register under one name that may come each minute in the long run.
    pub sign_ins_per_minute: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { burst: 100, per_second: 50, sign_ins: 10, sign_ins_per_minute: 6 }
    }
}
