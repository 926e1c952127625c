// Who may do what in a room, creators of room version 12 included, which the SDK does not know of.
import { EventType } from "matrix-js-sdk";

/** From this version on, creators stand above all power levels: https://spec.matrix.org/v1.19/rooms/v12/ */
const FIRST_VERSION_WITH_CREATORS = 12;

const DEFAULTS = { ban: 50, kick: 50, redact: 50, invite: 0, state_default: 50, events_default: 0, users_default: 0 };

export const LEVELS = [
  { level: 0, name: "Member" },
  { level: 50, name: "Moderator" },
  { level: 100, name: "Admin" },
];

const levelsOf = (room) => room.currentState.getStateEvents(EventType.RoomPowerLevels, "")?.getContent();
const creation = (room) => room.currentState.getStateEvents(EventType.RoomCreate, "");

export function isCreator(room, userId) {
  const create = creation(room);
  if (!create || Number(room.getVersion()) < FIRST_VERSION_WITH_CREATORS) return false;
  return create.getSender() === userId || (create.getContent().additional_creators ?? []).includes(userId);
}

/** @returns {number} the user's power level; a creator's is infinite */
export function powerOf(room, userId) {
  if (isCreator(room, userId)) return Infinity;
  const levels = levelsOf(room);
  if (!levels) return creation(room)?.getSender() === userId ? 100 : 0;
  return levels.users?.[userId] ?? levels.users_default ?? DEFAULTS.users_default;
}

/** @param {"ban"|"kick"|"redact"|"invite"} action */
export const may = (room, userId, action) => powerOf(room, userId) >= (levelsOf(room)?.[action] ?? DEFAULTS[action]);

export function maySend(room, userId, type, isState = true) {
  const levels = levelsOf(room);
  const fallback = isState ? "state_default" : "events_default";
  return powerOf(room, userId) >= (levels?.events?.[type] ?? levels?.[fallback] ?? DEFAULTS[fallback]);
}

export function titleOf(room, userId) {
  const power = powerOf(room, userId);
  if (power === Infinity) return "Creator";
  return LEVELS.findLast(({ level }) => power >= level)?.name ?? `Level ${power}`;
}
