// Addresses of rooms as people pass them on: an alias, an ID, or a link that holds one of them and names servers in the room.
//
// https://spec.matrix.org/v1.19/appendices/#uris

/** @typedef {{room: string, via: string[]}} Address an alias or a room ID, and servers that may let one in */

const ROOM = /^(#[^\s:]*:[^\s/?]+|![^\s:/?]+(:[^\s/?]+)?)$/;
/** How the two kinds stand in a `matrix:` link, without the sign before them. */
const SIGNS = { r: "#", room: "#", roomid: "!" };

/** @returns {Address|null} null for what is only words */
export function addressIn(text) {
  try {
    return read(text.trim());
  } catch {
    // A percent sign that encodes nothing.
    return null;
  }
}

/** The address in the form that is read again. */
export const textOf = ({ room, via }) => [room, new URLSearchParams(via.map((server) => ["via", server]))].filter(String).join("?");

function read(text) {
  const [path, query] = parted(text, "?");
  const uri = /^matrix:([a-z]+)\/([^/?]+)/i.exec(path);
  if (uri) return addressOf(`${SIGNS[uri[1].toLowerCase()]}${decodeURIComponent(uri[2])}`, query);
  // matrix.to has the room first; the links of web clients have a word before it.
  if (/^https?:\/\//i.test(text)) {
    const [inside, insideQuery] = parted(parted(text, "#")[1], "?");
    const room = inside.split("/").map(decodeURIComponent).find((part) => ROOM.test(part));
    return addressOf(room, insideQuery);
  }
  return addressOf(decodeURIComponent(path), query);
}

function addressOf(room, query) {
  if (!ROOM.test(room)) return null;
  const via = new URLSearchParams(query).getAll("via").filter(Boolean);
  const [, server] = parted(room, ":");
  return { room, via: via.length || room.startsWith("#") || !server ? via : [server] };
}

function parted(text, sign) {
  const at = text.indexOf(sign);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
