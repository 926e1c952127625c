// What the room list says of each room: in which section it stands, its last words, and what is unread.
import { EventType, NotificationCountType } from "matrix-js-sdk";
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
