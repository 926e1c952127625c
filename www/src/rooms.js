// What the room list says of each room: in which section it stands, its last words, and what is unread.
import { ClientEvent, EventType, NotificationCountType, RoomEvent } from "matrix-js-sdk";
import { gistOf } from "./text.js";

const FAVOURITE = "m.favourite";
const SHOWN = new Set(["join", "invite", "knock"]);

export const isFavourite = (room) => FAVOURITE in room.tags;
export const unreadIn = (room) => room.getUnreadNotificationCount(NotificationCountType.Total) ?? 0;
export const highlightsIn = (room) => room.getUnreadNotificationCount(NotificationCountType.Highlight) ?? 0;
export const topicOf = (room) => room.currentState.getStateEvents(EventType.RoomTopic, "")?.getContent().topic ?? "";
export const avatarOf = (room) => room.currentState.getStateEvents(EventType.RoomAvatar, "")?.getContent().url;
export const successorOf = (room) =>
  room.currentState.getStateEvents(EventType.RoomTombstone, "")?.getContent().replacement_room;

export const toggleFavourite = (client, room) =>
  isFavourite(room) ? client.deleteRoomTag(room.roomId, FAVOURITE) : client.setRoomTag(room.roomId, FAVOURITE, { order: 0.5 });

export const predecessorOf = (room) => room.currentState.getStateEvents(EventType.RoomCreate, "")?.getContent().predecessor?.room_id;

/** Joins, and waits until the sync has brought the room; or says in plain words why not. */
export async function enter(client, roomId) {
  try {
    await client.joinRoom(roomId);
    await untilMembership(client, roomId, "join");
  } catch (error) {
    if (error.httpStatus !== 403) throw error;
    const banned = client.getRoom(roomId)?.getMyMembership() === "ban";
    throw new Error(banned ? "You are banned from this room." : "This room lets in only whom it has invited.");
  }
}

/** Makes the room anew in another version, and asks in whoever could not follow by themselves. */
export async function upgrade(client, room, version) {
  const others = room.getMembers().filter(({ userId, membership }) => userId !== client.getUserId() && (membership === "join" || membership === "invite"));
  const { replacement_room: roomId } = await client.upgradeRoom(room.roomId, version);
  if (room.getJoinRule() !== "public") await Promise.all(others.map(({ userId }) => client.invite(roomId, userId)));
  await untilMembership(client, roomId, "join");
  return roomId;
}

/** Waits until the sync has told what an answered request did: until then, the room is as it was. */
export const untilMembership = (client, roomId, membership) =>
  new Promise((resolve) => {
    const look = () => {
      if (client.getRoom(roomId)?.getMyMembership() !== membership) return;
      client.off(RoomEvent.MyMembership, look);
      client.off(ClientEvent.Room, look);
      resolve();
    };
    client.on(RoomEvent.MyMembership, look);
    client.on(ClientEvent.Room, look);
    look();
  });

/** The sections of the list, the newest room first in each; a room that was upgraded hides behind its successor. */
export function roomSections(client) {
  const all = client.getVisibleRooms().filter((room) => SHOWN.has(room.getMyMembership()));
  const rooms = all.sort((a, b) => b.getLastActiveTimestamp() - a.getLastActiveTimestamp());
  const joined = rooms.filter((room) => room.getMyMembership() === "join");
  return [
    { name: "Invitations", rooms: rooms.filter((room) => room.getMyMembership() === "invite") },
    { name: "Favourites", rooms: joined.filter(isFavourite) },
    { name: "Rooms", rooms: joined.filter((room) => !isFavourite(room)) },
    { name: "Asked to join", rooms: rooms.filter((room) => room.getMyMembership() === "knock") },
  ].filter(({ rooms }) => rooms.length > 0);
}

/** Unread messages and invitations over all rooms. */
export function unreadInAll(client) {
  return client.getVisibleRooms().reduce(
    (sum, room) => sum + (room.getMyMembership() === "invite" ? 1 : room.getMyMembership() === "join" ? unreadIn(room) : 0),
    0,
  );
}

/** @returns {{words: string, time: number}|null} the room's last message in a line */
export function lastWords(room, me) {
  const event = room.getLiveTimeline().getEvents().findLast(isMessage);
  if (!event) return null;
  const sender = event.getSender() === me ? "You" : (room.getMember(event.getSender())?.rawDisplayName ?? event.getSender());
  const notice = event.getContent().msgtype === "m.notice";
  return { words: notice ? gistOf(event) : `${sender}: ${gistOf(event)}`, time: event.getTs() };
}

const isMessage = (event) =>
  event.getType() === EventType.RoomMessage && !event.isRedacted() && !event.isRelation("m.replace");

/** Who invited this user, from the invitation's own state. */
export function inviterOf(room, me) {
  const sender = room.getMember(me)?.events.member?.getSender();
  return { userId: sender, name: room.getMember(sender)?.rawDisplayName ?? sender };
}
