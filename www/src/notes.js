// The quiet lines of a timeline: what changed in the room and who changed it.
import { EventType } from "matrix-js-sdk";

const JOIN_RULES = { public: "anyone can join", invite: "people join by invitation", knock: "people can ask to join" };
const VISIBILITY = {
  world_readable: "the whole history can be read by anyone",
  shared: "members can read the whole history",
  invited: "members can read from their invitation on",
  joined: "members can read from their joining on",
};

const NOTES = {
  [EventType.RoomCreate]: (who, { predecessor }) => `${who} created this room${predecessor ? ", in the place of an older one" : ""}`,
  [EventType.RoomName]: (who, { name }) => (name ? `${who} named the room “${name}”` : `${who} took the room's name away`),
  [EventType.RoomTopic]: (who, { topic }) => (topic ? `${who} set the topic: ${topic}` : `${who} cleared the topic`),
  [EventType.RoomAvatar]: (who) => `${who} changed the room's picture`,
  [EventType.RoomJoinRules]: (who, { join_rule: rule }) => `${who} set that ${JOIN_RULES[rule] ?? `the join rule is ${rule}`}`,
  [EventType.RoomHistoryVisibility]: (who, { history_visibility: rule }) => `${who} set that ${VISIBILITY[rule] ?? rule}`,
  [EventType.RoomPowerLevels]: (who) => `${who} changed who may do what`,
  [EventType.RoomCanonicalAlias]: (who, { alias }) => (alias ? `${who} gave the room the address ${alias}` : null),
  [EventType.RoomTombstone]: (who) => `${who} replaced this room by a newer one`,
  [EventType.RoomMessageEncrypted]: (who) => `${who} sent an encrypted message, which cannot be read here yet`,
};

/** What a room says of itself while it is being made would only repeat its settings. */
const QUIET_AT_CREATION = new Set([
  EventType.RoomPowerLevels, EventType.RoomJoinRules, EventType.RoomHistoryVisibility, EventType.RoomTopic,
  EventType.RoomCanonicalAlias, EventType.RoomName, EventType.RoomGuestAccess,
]);
const CREATION_MILLIS = 3000;

/** @returns {string|null} the line, or null for what needs none */
export function noteOf(room, event) {
  const who = nameIn(room, event.getSender());
  if (event.getType() === EventType.RoomMember) return membershipNote(room, event, who);
  if (QUIET_AT_CREATION.has(event.getType()) && madeWith(room, event)) return null;
  return NOTES[event.getType()]?.(who, event.getContent()) ?? null;
}

function madeWith(room, event) {
  const create = room.currentState.getStateEvents(EventType.RoomCreate, "");
  return create && event.getSender() === create.getSender() && event.getTs() - create.getTs() < CREATION_MILLIS;
}

function membershipNote(room, event, who) {
  const { membership, displayname } = event.getContent();
  const { membership: before = "leave", displayname: nameBefore } = event.getPrevContent();
  const self = event.getStateKey() === event.getSender();
  const whom = displayname ?? nameIn(room, event.getStateKey());
  if (membership === before) return membership === "join" ? profileNote(event.getPrevContent(), event.getContent()) : null;
  if (membership === "join") return madeWith(room, event) ? null : `${whom} joined`;
  if (membership === "invite") return `${who} invited ${whom}`;
  if (membership === "knock") return `${whom} asked to join`;
  if (membership === "ban") return `${who} banned ${whom}`;
  if (before === "ban") return `${who} lifted the ban on ${nameBefore ?? whom}`;
  if (before === "invite") return self ? `${nameBefore ?? whom} declined the invitation` : `${who} took back the invitation of ${nameBefore ?? whom}`;
  return self ? `${nameBefore ?? whom} left` : `${who} removed ${nameBefore ?? whom}`;
}

function profileNote(before, after) {
  if (before.displayname !== after.displayname) return `${before.displayname ?? "Someone"} is now called ${after.displayname ?? "nothing"}`;
  return before.avatar_url !== after.avatar_url ? `${after.displayname} changed their picture` : null;
}

export const nameIn = (room, userId) => room.getMember(userId)?.name ?? userId;
