// The relays of the node: how each stands, in words, and the changes that its owner may make to the list.
import { bytes, count } from "./format.js";
import { ask, tell } from "./node.js";

/**
 * @typedef {{url: string, state: "connecting"|"attached"|"waiting"|"superseded", since?: number, until?: number, reason?: string,
 *   limits?: {gateway: string|null, max_body: number, allow_list: boolean, mailbox: {entries: number, bytes: number}, retention_ms: number}}} Relay
 */

/** Some browsers take more for a host than can be one. */
const HOST = /^([a-z0-9.-]+|\[[0-9a-f:.]+\])$/i;
const DAY = 86_400_000;
const HOUR = 3_600_000;

/** @returns {Promise<Relay[]>} the first to be tried first */
export const relaysOf = async (node, token) => (await ask(node, token, "/relays")).relays;

/** @param {string[]} urls */
export const chooseRelays = (node, token, urls) => tell(node, token, "PUT", "/relays", { relays: urls });

/** The node's signed record: where others find it. */
export const ownRecord = (node, token) => ask(node, token, "/record");

/** Takes note of where another server is found. */
export const learnRecord = (node, token, record) => tell(node, token, "PUT", `/records/${encodeURIComponent(record.name)}`, record);

/** What a person typed, as a relay's base URL; or an error that says what is wrong with it. */
export function relayUrl(typed) {
  const withScheme = /^[a-z]+:\/\//i.test(typed) ? typed : `https://${typed}`;
  if (!URL.canParse(withScheme) || !HOST.test(new URL(withScheme).hostname)) throw new Error("That is no address. It should look like https://relay.example.org.");
  const url = new URL(withScheme);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new Error("A relay's address begins with https://.");
  if (location.protocol === "https:" && url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new Error("From a secure page, browsers connect to secure relays only: the address has to begin with https://.");
  }
  return url.href.split(/[?#]/)[0].replace(/\/+$/, "");
}

const isLoopback = (host) => host === "localhost" || host === "127.0.0.1" || host === "[::1]";

/** @returns {string[]} the list with one entry moved up or down */
export function moved(urls, from, by) {
  const next = urls.toSpliced(from, 1);
  next.splice(from + by, 0, urls[from]);
  return next;
}

/** What the relay takes, in a line. */
export function limitsInWords({ mailbox, retention_ms: retention, max_body: largest, allow_list: closed }) {
  const kept = retention >= DAY ? count(Math.round(retention / DAY), "day") : count(Math.round(retention / HOUR), "hour");
  const words = `Keeps up to ${count(mailbox.entries, "delivery", "deliveries")} (${bytes(mailbox.bytes)}) for you, for ${kept}. Carries up to ${bytes(largest)} at once.`;
  return closed ? `${words} For listed servers only.` : words;
}
