// The invitation that a link carries: who invites, into which room, and where their server is found.
//
// It stands in the fragment, which browsers send to nobody: a check value, then JSON, deflated to keep the QR code coarse.

/**
 * @typedef {{userId: string, name: string, roomId: string, roomName: string, record: {name: string, relays: string[]}}} Invitation
 * The names are the inviter's word and no proof; the record is signed, and the node verifies it.
 */

/** The first segment of the fragment's path. */
export const INVITED = "invited";

/** Enough to notice a link that was cut short or altered on its way. It is no signature. */
const CHECK_BYTES = 6;
/** A link is well under this; a longer one was not made here. */
const LONGEST = 4096;
const LONGEST_NAME = 64;

/** @param {Invitation} invitation */
export async function linkTo({ userId, name, roomId, roomName, record }) {
  const fields = [userId, name.slice(0, LONGEST_NAME), roomId, roomName.slice(0, LONGEST_NAME), record];
  const packed = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(fields)));
  const bytes = new Uint8Array([...(await checkOf(packed)), ...packed]);
  return `${new URL(".", document.baseURI).href}#/${INVITED}/${toBase64Url(bytes)}`;
}

/** @returns {Promise<Invitation|null>} null for what is damaged or none of ours */
export async function invitationIn(text) {
  try {
    return await unpack(text);
  } catch {
    return null;
  }
}

async function unpack(text) {
  if (text.length > LONGEST) return null;
  const bytes = fromBase64Url(text);
  const [check, packed] = [bytes.slice(0, CHECK_BYTES), bytes.slice(CHECK_BYTES)];
  const expected = await checkOf(packed);
  if (!expected.every((byte, index) => byte === check[index])) return null;
  const json = new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), packed));
  const [userId, name, roomId, roomName, record] = JSON.parse(json);
  const invitation = { userId, name, roomId, roomName, record };
  return isSound(invitation) ? invitation : null;
}

function isSound({ userId, name, roomId, roomName, record }) {
  const texts = [userId, name, roomId, roomName, record?.name].every((text) => typeof text === "string");
  return texts && roomId.startsWith("!") && userId.startsWith("@") && serverOf(userId) === record.name;
}

export const serverOf = (userId) => userId.slice(userId.indexOf(":") + 1);

const checkOf = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).slice(0, CHECK_BYTES);

const through = async (stream, bytes) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

const toBase64Url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

const fromBase64Url = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
