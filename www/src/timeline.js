// Turns the SDK's timeline into what is drawn: messages grouped by sender, day separators, the unread line, quiet notes.
import { EventType, MsgType, RelationType } from "matrix-js-sdk";
import { dayName, startOfDay } from "./format.js";
import { noteOf } from "./notes.js";

/** Messages of one sender closer than this stand together. */
const GROUP_MILLIS = 5 * 60_000;

/**
 * @typedef {{kind: "day", key: string, name: string} | {kind: "unread", key: string}
 *   | {kind: "note", key: string, event: import("matrix-js-sdk").MatrixEvent, words: string}
 *   | {kind: "message", key: string, event: import("matrix-js-sdk").MatrixEvent, late: boolean, first: boolean, last: boolean}} Item
 *
 * @param {import("matrix-js-sdk").Room} room
 * @param {string|null} readUpTo the last event read when the room was opened
 * @returns {Item[]}
 */
export function timelineItems(room, me, readUpTo) {
  const items = [];
  let day = null;
  let passedRead = false;
  let lineDrawn = false;
  for (const event of inPlace(room.getLiveTimeline().getEvents())) {
    const item = itemOf(room, event);
    if (item) {
      if (startOfDay(event.getTs()) !== day) {
        day = startOfDay(event.getTs());
        items.push({ kind: "day", key: `day ${day}`, name: dayName(day) });
      }
      if (passedRead && !lineDrawn && event.getSender() !== me && !isLate(event)) {
        lineDrawn = true;
        items.push({ kind: "unread", key: "unread" });
      }
      items.push(item);
    }
    if (event.getId() === readUpTo) passedRead = true;
  }
  return grouped(items);
}

/** Whether the server says that the event came when others had written meanwhile, without knowing of it. */
export const isLate = (event) => event.getUnsigned()["im.inglenook.late"] === true;

/** What came late stands where it was written, not where it arrived. */
function inPlace(events) {
  const placed = [];
  for (const event of events) {
    let at = placed.length;
    while (isLate(event) && at > 0 && placed[at - 1].getTs() > event.getTs()) at--;
    placed.splice(at, 0, event);
  }
  return placed;
}

function itemOf(room, event) {
  const key = event.getTxnId() ?? event.getUnsigned().transaction_id ?? event.getId();
  if (isMessage(event)) return { kind: "message", key, event, late: isLate(event) };
  const words = noteOf(room, event);
  return words ? { kind: "note", key, event, words } : null;
}

export const isMessage = (event) =>
  event.getType() === EventType.RoomMessage && !event.isRelation(RelationType.Replace);

/** Marks where a group of one sender's messages begins and ends. */
function grouped(items) {
  return items.map((item, index) =>
    item.kind === "message"
      ? { ...item, first: !together(items[index - 1], item), last: !together(item, items[index + 1]) }
      : item,
  );
}

/** A notice stands in the middle, as nobody's words. */
const isNotice = ({ event }) => event.getContent().msgtype === MsgType.Notice;

function together(one, other) {
  if (one?.kind !== "message" || other?.kind !== "message") return false;
  return one.late === other.late && isNotice(one) === isNotice(other) && one.event.getSender() === other.event.getSender() && other.event.getTs() - one.event.getTs() < GROUP_MILLIS;
}

/** @returns {{key: string, senders: string[], mine: import("matrix-js-sdk").MatrixEvent|undefined}[]} */
export function reactionsTo(room, event, me) {
  const relations = room.relations.getChildEventsForEvent(event.getId(), RelationType.Annotation, EventType.Reaction);
  const byKey = relations?.getSortedAnnotationsByKey() ?? [];
  return byKey.flatMap(([key, set]) => {
    const events = [...set].filter((reaction) => !reaction.isRedacted());
    if (events.length === 0) return [];
    return { key, senders: events.map((reaction) => reaction.getSender()), mine: events.find((reaction) => reaction.getSender() === me) };
  });
}

/** Who has read as far as each message: a receipt on what is not drawn counts for the message before it. */
export function readersByKey(room, items, me) {
  const keyOf = new Map(items.flatMap((item) => (item.event ? [[item.event.getId(), item.key]] : [])));
  const readers = new Map();
  let key = null;
  for (const event of room.getLiveTimeline().getEvents()) {
    key = keyOf.get(event.getId()) ?? key;
    const users = room.getUsersReadUpTo(event).filter((userId) => userId !== me && userId !== event.getSender());
    if (key && users.length) readers.set(key, [...(readers.get(key) ?? []), ...users]);
  }
  return readers;
}

/** @returns the newest message of this user that can still be edited */
export const lastOwnMessage = (room, me) =>
  room.getLiveTimeline().getEvents().findLast(
    (event) => isMessage(event) && event.getSender() === me && !event.isRedacted() && !event.status && event.getContent().msgtype === "m.text",
  );
