//! What happens between the two, and what each of them must see of it.

use anyhow::{Context, Result, bail, ensure};
use matrix_sdk::attachment::AttachmentConfig;
use matrix_sdk::media::{MediaFormat, MediaRequestParameters};
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::room::edit::EditedContent;
use matrix_sdk::ruma::api::client::room::create_room::v3::Request as Creation;
use matrix_sdk::ruma::events::reaction::{OriginalSyncReactionEvent, ReactionEventContent};
use matrix_sdk::ruma::events::relation::Annotation;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::message::{MessageType, Relation, RoomMessageEventContent, RoomMessageEventContentWithoutRelation};
use matrix_sdk::ruma::events::{AnySyncMessageLikeEvent, AnySyncTimelineEvent, InitialStateEvent, SyncMessageLikeEvent};
use matrix_sdk::ruma::{OwnedEventId, OwnedRoomId, RoomId, TransactionId};
use matrix_sdk::{Room, RoomState};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::person::{Home, Person};

/// The room's name, which its invitation tells.
const NAME: &str = "Hearth";

/// The whole of it, in the order of time.
pub(crate) async fn tell(alice_url: &str, bob_url: &str) -> Result<()> {
    let stores = tempfile::tempdir()?;
    let place = |url: &str, name: &str| Home::new(url, &stores.path().join(name));
    // The accounts of one run are others than those of another on the same homeserver.
    let run = TransactionId::new();
    let [alice_name, bob_name] = ["alice", "bob"].map(|name| format!("{name}-{run}"));

    let alice = Person::register(place(alice_url, "alice"), &alice_name).await?;
    let bob = Person::register(place(bob_url, "bob"), &bob_name).await?;
    step("both are registered and logged in");
    let recovery_key = secure(&alice).await?;
    step("alice keeps her keys in secret storage and in a backup");
    let room = meet(&alice, &bob).await?;
    step("bob is in alice's encrypted room");
    let first = converse(&alice, &bob, &room, "at first").await?;
    step("each has read what the other wrote");
    verify(&alice, &bob).await?;
    step("alice trusts bob's identity");
    send_a_file(&bob, &alice, &room).await?;
    step("bob's file is what alice has of it");
    edit_and_react(&alice, &bob, &room, &first).await?;
    step("an edit and a reaction are told");

    restart().await?;
    converse(&alice, &bob, &room, "after the restart").await?;
    step("both go on with the clients that they had");

    let away = alice.close().await?;
    let unread = say(&bob, &room, "while alice is away").await?;
    let alice = away.return_home().await?;
    hear(&alice, "while alice is away", &unread).await?;
    converse(&alice, &bob, &room, "from her store").await?;
    step("alice goes on with what her store holds");

    alice.client.encryption().backups().wait_for_steady_state().await?;
    let second = Person::log_in(place(alice_url, "alice-second"), &alice_name).await?;
    read_the_past(&second, &room, &recovery_key, &first).await?;
    learn_of(&bob, &second).await?;
    converse(&second, &bob, &room, "on her second device").await?;
    step("alice's second device reads what was before it, and what comes");

    for person in [alice, bob, second] {
        person.log_out().await?;
    }
    Ok(())
}

fn step(what: &str) {
    eprintln!("{what}");
}

/// Lets whoever runs this program restart the homeservers.
async fn restart() -> Result<()> {
    println!("restart");
    BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await?;
    Ok(())
}

/// Sets up secret storage and a key backup; the answer is the recovery key.
async fn secure(person: &Person) -> Result<String> {
    let encryption = person.client.encryption();
    let status = encryption.cross_signing_status().await;
    ensure!(status.is_some_and(|status| status.is_complete()), "cross-signing keys were made at the log-in");
    Ok(encryption.recovery().enable().await?)
}

/// Makes an encrypted room, into which one invites the other.
async fn meet(alice: &Person, bob: &Person) -> Result<OwnedRoomId> {
    let mut request = Creation::new();
    request.name = Some(NAME.to_owned());
    request.invite = vec![bob.id()?.to_owned()];
    request.initial_state =
        vec![InitialStateEvent::with_empty_state_key(RoomEncryptionEventContent::with_recommended_defaults()).to_raw_any()];
    let id = alice.client.create_room(request).await?.room_id().to_owned();
    let is_invited = |room: &Room| room.state() == RoomState::Invited && room.name().as_deref() == Some(NAME);
    let invited = bob.eventually(async || Ok(bob.client.get_room(&id).filter(is_invited))).await?;
    invited.join().await?;
    for person in [alice, bob] {
        // Whoever sends before the other's join is known would leave them without the key.
        person
            .eventually(async || {
                let Some(room) = person.client.get_room(&id) else { return Ok(None) };
                let known = room.state() == RoomState::Joined && room.joined_members_count() == 2;
                Ok((known && room.latest_encryption_state().await?.is_encrypted()).then_some(()))
            })
            .await?;
    }
    Ok(id)
}

async fn say(person: &Person, room: &RoomId, text: &str) -> Result<OwnedEventId> {
    let sent = person.room(room)?.send(RoomMessageEventContent::text_plain(text)).await?;
    ensure!(sent.encryption_info.is_some(), "{text:?} was sent in the clear");
    Ok(sent.response.event_id)
}

async fn hear(person: &Person, text: &str, id: &OwnedEventId) -> Result<()> {
    let heard = person.hears(|told| told.is_text(text)).await?;
    ensure!(heard == *id, "{text:?} came under the ID of another event");
    Ok(())
}

/// Each writes something that the other reads. The answer is the first one's event.
async fn converse(one: &Person, other: &Person, room: &RoomId, occasion: &str) -> Result<OwnedEventId> {
    let (greeting, reply) = (format!("hello, {occasion}"), format!("hello to you, {occasion}"));
    let first = say(one, room, &greeting).await?;
    hear(other, &greeting, &first).await?;
    let second = say(other, room, &reply).await?;
    hear(one, &reply, &second).await?;
    Ok(first)
}

/// Signs the other's identity, as if they had met.
async fn verify(one: &Person, other: &Person) -> Result<()> {
    let encryption = one.client.encryption();
    let Some(identity) = encryption.request_user_identity(other.id()?).await? else { bail!("{} has no identity", other.id()?) };
    ensure!(!identity.is_verified(), "nobody has signed {}'s identity", other.id()?);
    identity.verify().await?;
    let identity = encryption.request_user_identity(other.id()?).await?;
    ensure!(identity.is_some_and(|identity| identity.is_verified()), "the server told nothing of the signature");
    Ok(())
}

/// Sends an encrypted file, which the other downloads.
async fn send_a_file(from: &Person, to: &Person, room: &RoomId) -> Result<()> {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    let kind = "application/octet-stream".parse()?;
    let sent = from.room(room)?.send_attachment("log.bin", &kind, bytes.clone(), AttachmentConfig::new()).await?;
    let source = to
        .hears(|told| match &told.message()?.msgtype {
            MessageType::File(file) if told.event.event_id() == sent.event_id => Some(file.source.clone()),
            _ => None,
        })
        .await?;
    let received = to.client.media().get_media_content(&MediaRequestParameters { source, format: MediaFormat::File }, false).await?;
    ensure!(received == bytes, "the file is another one after its way");
    Ok(())
}

/// The one changes what they wrote, and the other says what they think of it.
async fn edit_and_react(one: &Person, other: &Person, room: &RoomId, target: &OwnedEventId) -> Result<()> {
    let better = EditedContent::RoomMessage(RoomMessageEventContentWithoutRelation::text_plain("better said"));
    let edit = one.room(room)?.make_edit_event(target, better).await?;
    one.room(room)?.send(edit).await?;
    other
        .hears(|told| match &told.message()?.relates_to {
            Some(Relation::Replacement(edit)) if told.was_encrypted && edit.event_id == *target => Some(()),
            _ => None,
        })
        .await?;
    other.room(room)?.send(ReactionEventContent::new(Annotation::new(target.clone(), "👍".to_owned()))).await?;
    one.hears(|told| match &told.event {
        AnySyncTimelineEvent::MessageLike(AnySyncMessageLikeEvent::Reaction(SyncMessageLikeEvent::Original(reaction))) => {
            is_about(reaction, target)
        }
        _ => None,
    })
    .await
}

fn is_about(reaction: &OriginalSyncReactionEvent, target: &OwnedEventId) -> Option<()> {
    let annotation = &reaction.content.relates_to;
    (annotation.event_id == *target && annotation.key == "👍").then_some(())
}

/// A device that was not there at the time reads the first message, with keys of the backup.
async fn read_the_past(device: &Person, room: &RoomId, recovery_key: &str, first: &OwnedEventId) -> Result<()> {
    let encryption = device.client.encryption();
    encryption.recovery().recover(recovery_key).await?;
    let own = encryption.get_own_device().await?;
    ensure!(own.is_some_and(|own| own.is_cross_signed_by_owner()), "the secrets of the storage sign the new device");
    encryption.backups().download_room_keys_for_room(room).await?;
    let room = device.room(room)?;
    let mut options = MessagesOptions::backward();
    loop {
        let page = room.messages(options).await?;
        if let Some(found) = page.chunk.iter().find(|event| event.event_id().as_ref() == Some(first)) {
            ensure!(found.encryption_info().is_some(), "the backup has no key for the first message");
            return Ok(());
        }
        let Some(end) = page.end else { bail!("history ends before the first message") };
        options = MessagesOptions::backward().from(&*end);
    }
}

/// Waits until the one knows the other's device. Whoever does not know it encrypts nothing for it.
async fn learn_of(one: &Person, other: &Person) -> Result<()> {
    let device = other.client.device_id().context("the client is not logged in")?;
    one.eventually(async || Ok(one.client.encryption().get_device(other.id()?, device).await?.map(drop))).await
}
