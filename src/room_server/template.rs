//! Templates: events that another server is to sign and hand in again.

use ruma::CanonicalJsonObject;

use super::{
    auth::{allowed_by_state, select_auth_events},
    draft::Draft,
    snapshot::Snapshot,
    view::Undecided,
};
use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Placement},
    ordered::OrderedSet,
};

impl Draft<'_> {
    /// An event upon the room's head that its sender's server is to sign, if the room would allow it. Nothing is appended.
    pub fn template(&self, event: NewEvent) -> Result<CanonicalJsonObject, Undecided> {
        let (placement, before) = self.placement(&event, "template".into())?;
        let (template, event) = event.template(placement, &self.room.version, self.context.identity)?;
        self.check_allowed(&event, before)?;
        Ok(template)
    }

    /// An event upon the room's head that another server is to see before it is appended, if the room allows it. Nothing is
    /// appended.
    pub fn proposal(&self, event: NewEvent) -> Result<CheckedPdu, Undecided> {
        let localpart = format!("{}{}", self.next_number().0, self.context.identity.incarnation());
        let (placement, before) = self.placement(&event, localpart)?;
        let event = event.build(placement, &self.room.version, self.context.identity)?;
        self.check_allowed(&event, before)?;
        Ok(event)
    }

    fn placement(&self, event: &NewEvent, localpart: String) -> Result<(Placement, Snapshot), Undecided> {
        let (prev_events, before) = self.place_of_next()?;
        let placement = Placement {
            room_id: Some(self.room.id.clone()),
            prev_events,
            auth_events: select_auth_events(&self.view, &self.room.version, before, event)?,
            depth: self.head.next_depth(),
            now: self.context.now,
            localpart,
        };
        Ok((placement, before))
    }

    fn check_allowed(&self, event: &CheckedPdu, before: Snapshot) -> Result<(), Undecided> {
        for state in OrderedSet::from([before, self.head.current]) {
            allowed_by_state(&self.view, &self.room.version.rules.authorization, event.pdu(), state)?
                .map_err(|reason| Error::forbidden(format!("The room does not allow this: {reason}.")))?;
        }
        Ok(())
    }
}
