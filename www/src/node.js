// The node as the demo sees it: starts it through the page helper, and asks it the questions of the "your server" panel.
import { accounts } from "./accounts.js";
import { gatewayOf } from "./gateway.js";
import { recall, remember } from "./storage.js";

/**
 * What the page helper hands back, and all that the demo uses of it.
 * @typedef {EventTarget & {
 *   baseUrl: string, serverName?: string,
 *   state: "starting"|"running"|"restarting"|"failed",
 *   naming(): Promise<{settled: boolean, gateway?: string}>, start(options: {gateway?: string|null}): Promise<void>,
 *   storage(): Promise<StorageState>, stored?: StorageState,
 *   requestPersistence(): Promise<boolean>,
 * }} Node
 *
 * @typedef {{persisted: boolean, usage: number, quota: number, full: boolean}} StorageState
 *
 * @typedef {{server_name: string, version: string, log_position: number, rooms: number, users: number,
 *   started_at: number, tables: {name: string, rows: number, bytes?: number}[]}} Status
 * @typedef {{at: number, method: string, path: string, status: number, millis: number}} HandledRequest
 * @typedef {{event_id: string, type: string, state_key?: string, sender: string, depth: number,
 *   origin_server_ts: number, prev_events: string[], auth_events: string[],
 *   status: "accepted"|"soft_failed"|"rejected", position: number, state: boolean}} GraphEvent
 * @typedef {{position: number, kind: string, room_id?: string, event_id?: string, user_id?: string}} LogEntry
 */

/** Set by the build when the demo is developed against another homeserver, else null. */
const developmentHomeserver = HOMESERVER;

/** What the worker keeps for opening the page without a network. */
const SHELL = ["./", "index.html", "app.js", "app.css", "inglenook.js", "icon.svg", "manifest.webmanifest", "relays.json"];

const FIRST_RELAYS = "first relays";
const GATEWAY = "gateway";

/**
 * The node, started; or, with the gateway whose name a new one may take, yet to be started by whoever chooses.
 * @returns {Promise<{node: Node, gateway?: string}>}
 */
export async function openNode() {
  if (developmentHomeserver) return { node: homeserverElsewhere(developmentHomeserver) };
  const { installNode } = await import("./inglenook.js");
  const node = await installNode({
    serviceWorker: await workerUrl(),
    shell: SHELL.map((path) => new URL(path, document.baseURI).href),
  });
  const { gateway } = accounts().length ? {} : await node.naming();
  if (!gateway) await node.start({ gateway: recall(GATEWAY) ?? undefined });
  return { node, gateway };
}

/** Makes the server, with a name below the gateway's domain, or without for null. Kept first, for a start that is cut short. */
export async function makeNode(node, gateway) {
  remember(GATEWAY, gateway);
  await node.start({ gateway });
  if (gatewayOf(node.serverName) !== gateway) throw new Error("Your server was made in another tab meanwhile, with another choice. Go on with it, if you like.");
}

/** The worker's URL names the relays that a new node begins with; whoever chooses others later is heeded. */
async function workerUrl() {
  const url = new URL("inglenook-sw.js", document.baseURI);
  for (const relay of await firstRelays()) url.searchParams.append("relay", relay);
  return url;
}

/** The list beside the page; without a network the last one, since another URL would be another worker. */
async function firstRelays() {
  try {
    const response = await fetch(new URL("relays.json", document.baseURI));
    if (!response.ok) throw new Error(`relays.json answers ${response.status}`);
    const relays = await response.json();
    remember(FIRST_RELAYS, relays);
    return relays;
  } catch {
    return recall(FIRST_RELAYS, []);
  }
}

/** An ordinary homeserver in the node's clothes, for working on the demo alone. */
function homeserverElsewhere(baseUrl) {
  return Object.assign(new EventTarget(), {
    baseUrl,
    serverName: new URL(baseUrl).host,
    state: "running",
    storage: async () => ({ persisted: await navigator.storage.persisted(), ...(await navigator.storage.estimate()) }),
    requestPersistence: () => navigator.storage.persist(),
  });
}

/** @returns {Promise<Status>} */
export const status = (node, token) => ask(node, token, "/status");

/** The same with the tables' bytes: the node reads all that it has. */
export const measure = (node, token) => ask(node, token, "/status?bytes=true");

/** @returns {Promise<HandledRequest[]>} newest first */
export const recentRequests = async (node, token) => (await ask(node, token, "/requests")).requests;

/** @returns {Promise<{events: GraphEvent[], forward_extremities: string[]}>} */
export const roomGraph = (node, token, roomId, limit) =>
  ask(node, token, `/rooms/${encodeURIComponent(roomId)}/graph?limit=${limit}`);

/** The last entries. @returns {Promise<{entries: LogEntry[], end: number}>} */
export const logEntries = (node, token, limit) => ask(node, token, `/log?limit=${limit}`);

/** Asks the node one of its own questions; an answer that is none becomes an error in words. */
export const ask = (node, token, path) => own(node, token, "GET", path);

/** Tells the node something of its own. */
export const tell = (node, token, method, path, value) => own(node, token, method, path, value && JSON.stringify(value));

async function own(node, token, method, path, body) {
  const answer = await request(node, token, method, `/_inglenook${path}`, body);
  if (answer.status === 404 && answer.body?.errcode !== "M_NOT_FOUND") throw new Error("This server does not tell. The panel needs an Inglenook node.");
  if (answer.status !== 200) throw new Error(answer.body?.error ?? `The server answered ${answer.status}.`);
  return answer.body;
}

/**
 * One request as the API console sends it: JSON in, JSON or text out, with the time that it took.
 * @returns {Promise<{status: number, millis: number, body: any}>}
 */
export async function request(node, token, method, path, body) {
  const sentAt = performance.now();
  const response = await fetch(node.baseUrl + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body || undefined,
  });
  const text = await response.text();
  return { status: response.status, millis: performance.now() - sentAt, body: parsed(text) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
