//! The relay's own paths and headers, named once for both ends.

/// Where a node opens its tunnel (a WebSocket).
pub const TUNNEL: &str = "/_inglenook/relay/v1/tunnel";
/// Where another relay, or a browser, hands over a request as a binary message.
pub const FORWARD: &str = "/_inglenook/relay/v1/forward";
/// The relay's limits.
pub const LIMITS: &str = "/_inglenook/relay/v1/limits";
/// In front of a server's name: its node record.
pub const RECORD: &str = "/_inglenook/relay/v1/record/";
/// In front of a kind: what a node leaves for the time when it is away.
pub const DEPOSIT: &str = "/_inglenook/relay/v1/deposit/";
/// In front of a server's name: whether it is attached.
pub const PRESENCE: &str = "/_inglenook/relay/v1/presence/";
/// In front of a server's name: the relay says down the tunnel that it has attached.
pub const ONLINE: &str = "/_inglenook/relay/v1/online/";

/// Of a request: the base URLs of the relays where the destination can be found, separated by commas. Of a response that says
/// "stored": the base URL of the relay that keeps the request, where it is another than the one that was asked.
pub const RELAYS_HEADER: &str = "inglenook-relays";
/// Of a response: what became of the request, one of [`Outcome`]'s words.
pub const OUTCOME_HEADER: &str = "inglenook-outcome";
/// Of a request that waited in the mailbox: the entry's ID.
pub const MAILBOX_HEADER: &str = "inglenook-mailbox";

/// Of a node's answer: its signature, so that whoever has asked believes it whoever has carried it.
pub const ANSWER_HEADER: &str = "inglenook-answer";

/// Of a request: the sender's signed node record in unpadded base64, so that who receives it knows where to answer.
pub const RECORD_HEADER: &str = "inglenook-record";

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination answered: status and body are its own.
    Answered,
    /// It waits in the destination's mailbox.
    Stored,
    /// The relay answered from what the destination had left with it.
    Deposit,
    /// Neither: the status and the Matrix error say why.
    Refused,
}

impl Outcome {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Stored => "stored",
            Self::Deposit => "deposit",
            Self::Refused => "refused",
        }
    }

    /// Reads the header's value. One that is missing or unknown means that the request was refused.
    pub fn parse(value: Option<&str>) -> Self {
        match value {
            Some("answered") => Self::Answered,
            Some("stored") => Self::Stored,
            Some("deposit") => Self::Deposit,
            _ => Self::Refused,
        }
    }
}
