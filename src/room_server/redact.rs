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
    /// Redacts the target of an event that is a redaction, and the event itself if its redaction came before it.
    pub(super) fn pair_redactions(&mut self, number: EventNumber, pdu: &Pdu) -> Result<(), Undecided> {
        if let Some(target) = pdu.redacts.clone() {
            self.redact(number, &target)?;
        }
        if pdu.sender.server_name() == self.context.identity.server_name() {
            // Nobody can have named an event that was only just made here.
            return Ok(());
        }
        let pending = self.pending_key(&pdu.event_id);
        if let Some(redaction) = self.view.row(&pending)?.as_deref().and_then(EventNumber::from_bytes) {
            self.rows.delete(pending);
            self.redact(redaction, &pdu.event_id.clone())?;
        }
        Ok(())
    }

    fn redact(&mut self, redaction: EventNumber, target: &EventId) -> Result<(), Undecided> {
        let redaction = self.view.event(redaction)?;
        let Some(target) = self.view.event_by_id(target)? else {
            let key = self.pending_key(target);
            self.rows.put(key, redaction.number.0.to_be_bytes());
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
fn redacted(pdu: &Pdu, version: &RoomVersion) -> Result<Pdu, Error> {
    let stored = |error: &dyn std::fmt::Display| Error::bug(format!("redacting {}: {error}", pdu.event_id));
    let mut object: CanonicalJsonObject = serde_json::from_str(pdu.json.get()).map_err(|error| stored(&error))?;
    redact_in_place(&mut object, &version.rules.redaction, None).map_err(|error| stored(&error))?;
    let json = serde_json::to_string(&object).and_then(RawValue::from_string).map_err(|error| stored(&error))?;
    let mut redacted = Pdu::read(pdu.event_id.clone(), json, version)?;
    redacted.rejected = pdu.rejected;
    Ok(redacted)
}
