//! Redactions: pairing one with its target, whichever comes first, and taking the content away.

use ruma::{CanonicalJsonObject, EventId, canonical_json::redact_in_place};
use serde_json::value::RawValue;

use super::{
    draft::Draft,
    number::EventNumber,
    power::PowerLevels,
    relation,
    stored::StoredEvent,
    view::{Need, Undecided, View},
};
use crate::{
    error::Error,
    event::{Pdu, RoomVersion},
    storage::{Key, Table},
};

impl Draft<'_> {
    /// Redacts the event that an accepted redaction names; one that is not here yet will be redacted when it comes.
    pub(super) fn redact_target(&mut self, number: EventNumber, pdu: &Pdu) -> Result<(), Undecided> {
        match &pdu.redacts {
            Some(target) => self.redact(number, &target.clone()),
            None => Ok(()),
        }
    }

    /// Redacts an event whose redaction came before it.
    pub(super) fn redact_if_awaited(&mut self, pdu: &Pdu) -> Result<(), Undecided> {
        let redactions = self.pending_redactions(&pdu.event_id)?;
        if redactions.is_empty() {
            return Ok(());
        }
        self.set_pending_redactions(&pdu.event_id, Vec::new());
        redactions.into_iter().try_for_each(|redaction| self.redact(redaction, &pdu.event_id))
    }

    /// Applies a redaction, if its sender may redact the target and no other has done so before.
    pub(super) fn redact(&mut self, redaction: EventNumber, target: &EventId) -> Result<(), Undecided> {
        let redaction = self.view.event(redaction)?;
        let Some(target) = self.view.event_by_id(target)? else {
            let mut pending = self.pending_redactions(target)?;
            pending.push(redaction.number);
            self.set_pending_redactions(target, pending);
            return Ok(());
        };
        if target.decided.redacted_by.is_some() || !may_redact(&self.view, &self.room.version, &redaction, &target)? {
            return Ok(());
        }
        relation::delete(&mut self.rows, self.room.number, &target.pdu, target.number);
        let mut decided = target.decided.clone();
        decided.redacted_by = Some(redaction.number);
        self.store(target.number, redacted(&target.pdu, &self.room.version)?, decided);
        Ok(())
    }

    /// The redactions that came before their target. Whether any takes effect shows only with the target.
    pub(super) fn pending_redactions(&self, target: &EventId) -> Result<Vec<EventNumber>, Need> {
        if let Some(pending) = self.pending_redactions.get(target) {
            return Ok(pending.clone());
        }
        let row = self.view.row(&self.pending_key(target))?.unwrap_or_default();
        Ok(row.chunks_exact(size_of::<u64>()).filter_map(EventNumber::from_bytes).collect())
    }

    fn set_pending_redactions(&mut self, target: &EventId, pending: Vec<EventNumber>) {
        let key = self.pending_key(target);
        if pending.is_empty() {
            self.rows.delete(key);
        } else {
            self.rows.put(key, pending.iter().flat_map(|redaction| redaction.0.to_be_bytes()).collect::<Vec<_>>());
        }
        self.pending_redactions.insert(target.to_owned(), pending);
    }

    fn pending_key(&self, target: &EventId) -> Key {
        Key::new(Table::PendingRedactions).number(self.room.number.0).text(target.as_str())
    }
}

/// Whether the redaction takes effect: its sender has the power, or its server sent the target.
///
/// <https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions>
fn may_redact(view: &View<'_>, version: &RoomVersion, redaction: &StoredEvent, target: &StoredEvent) -> Result<bool, Need> {
    if version.rules.authorization.special_case_room_redaction || redaction.pdu.sender.server_name() == target.pdu.sender.server_name() {
        return Ok(true);
    }
    let levels = PowerLevels::of(view, version, redaction.decided.before)?;
    Ok(levels.user(&redaction.pdu.sender) >= levels.action("redact"))
}

/// The event without what its room version lets a redaction take away.
pub(crate) fn redacted(pdu: &Pdu, version: &RoomVersion) -> Result<Pdu, Error> {
    let stored = |error: &dyn std::fmt::Display| Error::bug(format!("redacting {}: {error}", pdu.event_id));
    let mut object: CanonicalJsonObject = serde_json::from_str(pdu.json.get()).map_err(|error| stored(&error))?;
    redact_in_place(&mut object, &version.rules.redaction, None).map_err(|error| stored(&error))?;
    let json = serde_json::to_string(&object).and_then(RawValue::from_string).map_err(|error| stored(&error))?;
    let mut redacted = Pdu::read(pdu.event_id.clone(), json, version)?;
    redacted.rejected = pdu.rejected;
    Ok(redacted)
}
