//! Whose device lists are followed: those of users who share a room with a local one. Of the others, their servers tell nothing any more.

use ruma::{OwnedUserId, UserId};

use super::{RemoteDeviceList, cached, row_key};
use crate::{
    error::Error,
    gather::Gather,
    log::Output,
    ordered::OrderedSet,
    room_server::{EventNumber, RoomNumber},
    rows,
    server::Server,
    sharing,
    storage::Batch,
};

/// So many lists are looked at at once.
const CHUNK: usize = 100;

/// Marks the lists stale of users with whom an entry of the log has ended what local users shared: what changes from here on is not heard.
pub(crate) async fn follow(server: &Server, output: &Output) -> Result<(), Error> {
    let Output::Event { room, event, removed, users, federated, .. } = output else { return Ok(()) };
    if users.is_empty() && !federated.joined.values().any(|more| *more < 0) {
        return Ok(());
    }
    let mut gone = members_among(server, *room, *event, removed).await?;
    let is_local = |user: &OwnedUserId| user.server_name() == server.identity.server_name();
    if gone.iter().any(is_local) && !is_anybody_in(server, *room).await? {
        gone.append(&mut sharing::members(server, *room).await?);
    }
    let gone: Vec<_> = gone.into_iter().filter(|user| !is_local(user)).collect();
    for users in gone.chunks(CHUNK) {
        stop_following(server, users).await?;
    }
    Ok(())
}

/// Whether local users are in a room now. Then all of its members are shared with them, and whoever is the last to go has an entry as well.
async fn is_anybody_in(server: &Server, room: RoomNumber) -> Result<bool, Error> {
    let users = server.accounts.active_users().await?.into_iter().gather();
    Ok(!sharing::in_rooms(server, &[room], users).await?.is_empty())
}

/// The users who were joined by these events.
async fn members_among(
    server: &Server,
    room: RoomNumber,
    event: EventNumber,
    events: &[EventNumber],
) -> Result<OrderedSet<OwnedUserId>, Error> {
    let Some(room) = server.rooms.rooms_by_number(&[(room, event)]).await?.pop() else { return Ok(OrderedSet::new()) };
    let events = server.rooms.events(&room, events).await?;
    let joins = events.iter().filter(|event| event.pdu.content_str("membership").as_deref() == Some("join"));
    Ok(joins.filter_map(|event| UserId::parse(event.pdu.state_key.as_deref()?).ok()).gather())
}

async fn stop_following(server: &Server, users: &[OwnedUserId]) -> Result<(), Error> {
    let store = &*server.ports.store;
    let keys: Vec<_> = users.iter().map(|user| row_key(user)).collect();
    let lists = rows::many::<RemoteDeviceList>(store, &keys).await?;
    let followed = users.iter().zip(lists).filter(|(_, list)| list.as_ref().is_some_and(|list| !list.is_stale));
    let followed: OrderedSet<_> = followed.map(|(user, _)| user.clone()).gather();
    let seen = sharing::seen(server, followed.clone()).await?;
    for user in followed.difference(&seen) {
        let _lock = server.accounts.lock(user).await;
        if let Some(list) = cached(store, user).await? {
            let mut batch = Batch::new();
            batch.put_json(row_key(user), &RemoteDeviceList { is_stale: true, ..list });
            store.commit(batch).await?;
        }
    }
    Ok(())
}
