//! What a client's sync loop has told: decrypted events, in the order in which they came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matrix_sdk::deserialized_responses::EncryptionInfo;
use matrix_sdk::ruma::OwnedEventId;
use matrix_sdk::ruma::events::room::message::{MessageType, Relation, RoomMessageEventContent};
use matrix_sdk::ruma::events::{AnySyncMessageLikeEvent, AnySyncTimelineEvent, SyncMessageLikeEvent};
use matrix_sdk::{Client, Room};

/// One event, and whether it had been encrypted.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) event: AnySyncTimelineEvent,
    room: Room,
    pub(crate) was_encrypted: bool,
}

impl Told {
    /// The content of a message that has not been redacted.
    pub(crate) fn message(&self) -> Option<&RoomMessageEventContent> {
        match &self.event {
            AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomMessage(SyncMessageLikeEvent::Original(message))) => {
                Some(&message.content)
            }
            _ => None,
        }
    }

    /// The ID of an encrypted text, if it is this one and no edit.
    pub(crate) fn is_text(&self, text: &str) -> Option<OwnedEventId> {
        let content = self.message()?;
        let fits = matches!(&content.msgtype, MessageType::Text(found) if found.body == text);
        let is_edit = matches!(content.relates_to, Some(Relation::Replacement(_)));
        (fits && !is_edit && self.was_encrypted).then(|| self.event.event_id().to_owned())
    }

    fn is_sealed(&self) -> bool {
        matches!(self.event, AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::RoomEncrypted(_)))
    }
}

/// The events that a client was told of, in their order.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Told>>>);

impl Heard {
    /// Listens to a client that is about to sync.
    pub(crate) fn by(client: &Client) -> Self {
        let heard = Self::default();
        let sink = heard.clone();
        client.add_event_handler(move |event: AnySyncTimelineEvent, room: Room, encryption: Option<EncryptionInfo>| {
            sink.all().push(Told { event, room, was_encrypted: encryption.is_some() });
            std::future::ready(())
        });
        heard
    }

    /// The first that fits.
    pub(crate) fn find<T>(&self, fits: impl Fn(&Told) -> Option<T>) -> Option<T> {
        self.all().iter().find_map(fits)
    }

    /// Opens what came before its key: other servers' events and to-device messages take ways of their own, so that a key may be late.
    pub(crate) async fn open_what_is_sealed(&self) -> matrix_sdk::Result<()> {
        let sealed: Vec<_> = self.all().iter().filter(|told| told.is_sealed()).cloned().collect();
        for Told { event, room, .. } in sealed {
            let opened = room.event(event.event_id(), None).await?;
            if opened.encryption_info().is_some() {
                let told = Told { event: opened.raw().deserialize()?, room, was_encrypted: true };
                self.all().iter_mut().filter(|old| old.event.event_id() == event.event_id()).for_each(|old| *old = told.clone());
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, Vec<Told>> {
        // Whoever panicked while it held the list had not changed it by halves.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
