// Message bodies: what a message says in plain words, and its words as links, code, mentions and text.
import { MsgType } from "matrix-js-sdk";

/** Fences, code spans and web addresses; what surrounds them is text. */
const MARKS = /```(?:\w*\n)?([\s\S]*?)```|`([^`\n]+)`|(https?:\/\/[^\s<>"]*[^\s<>"'.,:;!?)\]])/g;

/** @returns {string} the words of a message, or what it is when it has none */
export function bodyOf(event) {
  const { body = "", msgtype } = event.getContent();
  if (msgtype === MsgType.Image) return "sent an image";
  if (msgtype === MsgType.File) return `sent ${body}`;
  if (msgtype === MsgType.Emote) return `* ${body}`;
  return withoutQuote(event, body);
}

/** @returns {string} the same in one line, as a list or a quotation has room for */
export const gistOf = (event) => bodyOf(event).replace(/```\w*|`/g, "").replace(/\s+/g, " ").trim();

/** Older clients repeat what they reply to: https://spec.matrix.org/v1.12/client-server-api/#fallbacks-for-rich-replies */
function withoutQuote(event, body) {
  if (!event.replyEventId || !body.startsWith("> ")) return body;
  return body.replace(/^(> .*\n)+\n?/, "");
}

/**
 * @param {string[]} names how the mentioned people are called in it
 * @returns {{kind: "text"|"link"|"code"|"block"|"mention", text: string}[]}
 */
export function partsOf(body, names) {
  const parts = [];
  let end = 0;
  for (const match of body.matchAll(MARKS)) {
    parts.push(...mentionsIn(body.slice(end, match.index), names));
    const [whole, block, code] = match;
    parts.push(block !== undefined ? { kind: "block", text: block.replace(/\n$/, "") } : code !== undefined ? { kind: "code", text: code } : { kind: "link", text: whole });
    end = match.index + whole.length;
  }
  return [...parts, ...mentionsIn(body.slice(end), names)];
}

function mentionsIn(text, names) {
  if (text === "") return [];
  const name = names.find((candidate) => text.includes(candidate));
  if (!name) return [{ kind: "text", text }];
  const at = text.indexOf(name);
  return [
    ...mentionsIn(text.slice(0, at), names),
    { kind: "mention", text: name },
    ...mentionsIn(text.slice(at + name.length), names),
  ];
}

/** One to three emoji and nothing else are shown large. */
export const isOnlyEmoji = (body) => /^(?:\p{Extended_Pictographic}[\p{Emoji_Modifier}\u{fe0f}\u{200d}]*\s*){1,3}$/u.test(body);
