// What a person can do with messages: send, reply, edit, react, take back, try again.
import { EventType, MsgType, RelationType } from "matrix-js-sdk";

/**
 * @param {{userId: string, name: string}[]} mentioned people whose names stand in the body
 * @param {import("matrix-js-sdk").MatrixEvent} [replyTo]
 */
export function sendText(client, roomId, body, mentioned, replyTo) {
  const content = textContent(body, mentioned);
  if (replyTo) {
    content["m.relates_to"] = { "m.in_reply_to": { event_id: replyTo.getId() } };
    content["m.mentions"] = withMention(content["m.mentions"], replyTo.getSender(), client.getUserId());
  }
  return client.sendMessage(roomId, content);
}

/** Edits replace the content of the first version: https://spec.matrix.org/v1.19/client-server-api/#event-replacements */
export function editText(client, roomId, event, body, mentioned) {
  const content = textContent(body, mentioned);
  return client.sendMessage(roomId, {
    ...content,
    body: `* ${body}`,
    "m.new_content": content,
    "m.relates_to": { rel_type: RelationType.Replace, event_id: event.getId() },
  });
}

function textContent(body, mentioned) {
  const emote = /^\/me\s+/.exec(body);
  return {
    msgtype: emote ? MsgType.Emote : MsgType.Text,
    body: emote ? body.slice(emote[0].length) : body,
    "m.mentions": mentioned.length ? { user_ids: mentioned.map(({ userId }) => userId) } : {},
  };
}

function withMention(mentions, userId, me) {
  if (userId === me) return mentions;
  return { user_ids: [...new Set([...(mentions.user_ids ?? []), userId])] };
}

/** Adds the reaction, or takes one's own back. */
export function toggleReaction(client, roomId, event, key, mine) {
  if (mine) return mine.status ? undefined : client.redactEvent(roomId, mine.getId());
  return client.sendEvent(roomId, EventType.Reaction, {
    "m.relates_to": { rel_type: RelationType.Annotation, event_id: event.getId(), key },
  });
}

/** @returns {Promise<{time: number, body: string}[]>} every version of a message, the first one first */
export async function versionsOf(client, event) {
  const [first, { chunk }] = await Promise.all([
    client.fetchRoomEvent(event.getRoomId(), event.getId()),
    client.fetchRelations(event.getRoomId(), event.getId(), RelationType.Replace, EventType.RoomMessage, { limit: 50 }),
  ]);
  const edits = chunk
    .filter((edit) => edit.sender === event.getSender() && edit.content["m.new_content"])
    .map((edit) => ({ time: edit.origin_server_ts, body: edit.content["m.new_content"].body }));
  return [{ time: first.origin_server_ts, body: first.content.body }, ...edits.sort((a, b) => a.time - b.time)];
}
