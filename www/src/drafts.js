// Half-written messages, kept for each account and room until they are sent; and where each timeline was left.
import { recall, remember } from "./storage.js";

const key = (userId, roomId) => `draft ${userId} ${roomId}`;

export const draftOf = (userId, roomId) => recall(key(userId, roomId), "");
export const keepDraft = (userId, roomId, text) => remember(key(userId, roomId), text);

/** @type {Map<string, {stick: boolean, key?: string, offset?: number}>} */
const positions = new Map();

export const positionIn = (userId, roomId) => positions.get(key(userId, roomId)) ?? { stick: true };
export const keepPosition = (userId, roomId, position) => positions.set(key(userId, roomId), position);
