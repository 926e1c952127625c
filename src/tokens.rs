//! The tokens that clients hold for a place: one in the log, one in a room's timeline.

use std::fmt;

use crate::{
    error::Error,
    room_server::{EventNumber, Position, stored::StoredEvent},
    server::Server,
};

/// A place in the log, as `/sync` gives it out: all before it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamToken {
    /// The last position that was told.
    pub(crate) position: Position,
    /// The serial number of the last change of typing that was told.
    pub(crate) typing: u64,
    /// The last position whose messages to the device were told: it lags behind where there are many.
    pub(crate) to_device: Position,
    /// The start of the server in which the serial number holds.
    pub(crate) boot: String,
    /// The life of the database in which the position holds.
    pub(crate) incarnation: String,
}

/// A place in a room's timeline: the gap before the event of that depth and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopologicalToken {
    pub(crate) depth: u64,
    pub(crate) event: EventNumber,
}

/// A token of either kind, where a client may send both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Stream(StreamToken),
    Topological(TopologicalToken),
}

impl StreamToken {
    /// Reads what [`fmt::Display`] has written, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('s')?.split('_');
        let position = Position(number(parts.next()?)?);
        let typing = number(parts.next()?)?;
        let to_device = Position(number(parts.next()?)?);
        let boot = hex(parts.next()?)?;
        let incarnation = hex(parts.next()?)?;
        parts.next().is_none().then_some(Self { position, typing, to_device, boot, incarnation })
    }
}

impl TopologicalToken {
    /// The gap before the first event of every room.
    pub(crate) const START: Self = Self { depth: 0, event: EventNumber(0) };

    /// The gap behind the last event of every room.
    pub(crate) const END: Self = Self { depth: u64::MAX, event: EventNumber(u64::MAX) };

    /// The gap before an event.
    pub(crate) fn before(event: &StoredEvent) -> Self {
        Self { depth: event.pdu.depth, event: event.number }
    }

    /// The gap behind an event.
    pub(crate) fn after(event: &StoredEvent) -> Self {
        Self::before(event).next()
    }

    /// The gap behind the event that this is the gap before.
    pub(crate) fn next(self) -> Self {
        Self { event: EventNumber(self.event.0.saturating_add(1)), ..self }
    }

    /// Reads what [`fmt::Display`] has written, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (depth, event) = text.strip_prefix('t')?.split_once('_')?;
        Some(Self { depth: number(depth)?, event: EventNumber(number(event)?) })
    }
}

impl Token {
    /// Reads a client's token; one of another life of this database is refused like one that is none.
    pub(crate) fn read(server: &Server, text: &str) -> Result<Self, Error> {
        let stream = StreamToken::parse(text).filter(|token| token.incarnation == server.identity.incarnation()).map(Self::Stream);
        let token = stream.or_else(|| TopologicalToken::parse(text).map(Self::Topological));
        token.ok_or_else(|| Error::invalid_param(format!("{text:?} is no token of this server.")))
    }
}

impl fmt::Display for StreamToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s{}_{}_{}_{}_{}", self.position.0, self.typing, self.to_device.0, self.boot, self.incarnation)
    }
}

impl fmt::Display for TopologicalToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "t{}_{}", self.depth, self.event.0)
    }
}

/// A number in digits alone: `parse` would take a plus sign as well.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn hex(text: &str) -> Option<String> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stream_token_reads_back(position: u64, typing: u64, to_device: u64, boot in "[0-9a-f]{8}", incarnation in "[0-9a-f]{8}") {
            let token = StreamToken { position: Position(position), typing, to_device: Position(to_device), boot, incarnation };
            prop_assert_eq!(StreamToken::parse(&token.to_string()), Some(token.clone()));
            prop_assert_eq!(TopologicalToken::parse(&token.to_string()), None);
        }

        #[test]
        fn a_topological_token_reads_back(depth: u64, event: u64) {
            let token = TopologicalToken { depth, event: EventNumber(event) };
            prop_assert_eq!(TopologicalToken::parse(&token.to_string()), Some(token));
            prop_assert_eq!(StreamToken::parse(&token.to_string()), None);
        }

        #[test]
        fn nothing_else_is_a_token(text in "[st]?[0-9_+a-g-]{0,24}") {
            if let Some(token) = StreamToken::parse(&text) {
                prop_assert_eq!(StreamToken::parse(&token.to_string()), Some(token));
            }
            if let Some(token) = TopologicalToken::parse(&text) {
                prop_assert_eq!(TopologicalToken::parse(&token.to_string()), Some(token));
            }
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "s",
            "s1",
            "s1_2",
            "s1_2_3_ab",
            "s1_2_ab_cd",
            "s1_2_3_ab_cd_ef",
            "s1_2_3__cd",
            "s1_2_3_xy_cd",
            "s-1_2_3_ab_cd",
            "s+1_2_3_ab_cd",
            "1_2_3_ab_cd",
        ] {
            assert_eq!(StreamToken::parse(text), None, "{text:?}");
        }
        for text in ["", "t", "t1", "t1_", "t_1", "t1_2_3", "t1_-2", "1_2", "t99999999999999999999_1"] {
            assert_eq!(TopologicalToken::parse(text), None, "{text:?}");
        }
    }
}
