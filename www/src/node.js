// The node as the demo sees it: starts it through the page helper, and asks it the questions of the "your server" panel.

/**
 * What the page helper hands back, and all that the demo uses of it.
 * @typedef {EventTarget & {
 *   baseUrl: string, serverName: string,
 *   state: "starting"|"running"|"restarting"|"failed",
 *   storage(): Promise<{persisted: boolean, usage: number, quota: number}>,
 *   requestPersistence(): Promise<boolean>,
 * }} Node
 *
 * @typedef {{server_name: string, version: string, log_position: number, rooms: number, users: number,
 *   started_at: number, tables: {name: string, rows: number, bytes: number}[]}} Status
 * @typedef {{at: number, method: string, path: string, status: number, millis: number}} HandledRequest
 * @typedef {{event_id: string, type: string, state_key?: string, sender: string, depth: number,
 *   origin_server_ts: number, prev_events: string[], auth_events: string[],
 *   status: "accepted"|"soft_failed"|"rejected", position: number, state: boolean}} GraphEvent
 * @typedef {{position: number, kind: string, room_id?: string, event_id?: string, user_id?: string}} LogEntry
 */

/** Set by the build when the demo is developed against another homeserver, else null. */
const developmentHomeserver = HOMESERVER;

/** What the worker keeps for opening the page without a network. */
const SHELL = ["./", "index.html", "app.js", "app.css", "inglenook.js", "icon.svg", "manifest.webmanifest"];

/** @returns {Promise<Node>} */
export async function openNode() {
  if (developmentHomeserver) return homeserverElsewhere(developmentHomeserver);
  const { startNode } = await import("./inglenook.js");
  return startNode({
    serviceWorker: new URL("inglenook-sw.js", document.baseURI),
    shell: SHELL.map((path) => new URL(path, document.baseURI).href),
  });
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

/** @returns {Promise<HandledRequest[]>} newest first */
export const recentRequests = async (node, token) => (await ask(node, token, "/requests")).requests;

/** @returns {Promise<{events: GraphEvent[], forward_extremities: string[]}>} */
export const roomGraph = (node, token, roomId, limit) =>
  ask(node, token, `/rooms/${encodeURIComponent(roomId)}/graph?limit=${limit}`);

/** @returns {Promise<{entries: LogEntry[], end: number}>} */
export const logEntries = (node, token, from, limit) => ask(node, token, `/log?from=${from}&limit=${limit}`);

async function ask(node, token, path) {
  const answer = await request(node, token, "GET", `/_inglenook${path}`);
  if (answer.status === 404) throw new Error("This server does not tell. The panel needs an Inglenook node.");
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
