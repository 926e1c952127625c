// A client of any homeserver, as thin as can be: what it costs is measured along with the server.

import http from "node:http";

const PASSWORD = "correct horse battery staple";

/** As many connections as are asked for at once, each kept for the next request. */
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: Infinity });

/** Sends a request and returns the JSON of its answer; throws where it is refused. */
export async function call(base, method, path, { token, body } = {}) {
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const headers = { ...(token && { authorization: `Bearer ${token}` }) };
  if (sent !== undefined) Object.assign(headers, { "content-type": "application/json", "content-length": Buffer.byteLength(sent) });
  const { status, text } = await exchange(base + path, { method, headers, agent }, sent);
  if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`);
  return JSON.parse(text);
}

function exchange(url, options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, options, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve({ status: response.statusCode, text: Buffer.concat(pieces).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** Lets go of all connections, so that no server waits for them. */
export function hangUp() {
  agent.destroy();
}

/** A person with an account. */
export class Person {
  transactions = 0;

  constructor(base, { user_id: id, access_token: token }) {
    this.base = `${base}/_matrix/client/v3`;
    this.id = id;
    this.token = token;
  }

  static async register(base, username) {
    const body = { username, password: PASSWORD, auth: { type: "m.login.dummy" } };
    return new Person(base, await call(base, "POST", "/_matrix/client/v3/register", { body }));
  }

  get(path) {
    return call(this.base, "GET", path, { token: this.token });
  }

  post(path, body = {}) {
    return call(this.base, "POST", path, { token: this.token, body });
  }

  put(path, body = {}) {
    return call(this.base, "PUT", path, { token: this.token, body });
  }

  async createRoom(options = {}) {
    return (await this.post("/createRoom", { preset: "public_chat", ...options })).room_id;
  }

  join(room) {
    return this.post(inRoom(room, "join"));
  }

  async say(room, body = "A message of ordinary length, as people send them.") {
    this.transactions += 1;
    return (await this.put(inRoom(room, `send/m.room.message/t${this.transactions}`), { msgtype: "m.text", body })).event_id;
  }

  sync({ since, timeout = 0, filter } = {}) {
    const query = new URLSearchParams({ timeout, ...(since && { since }), ...(filter && { filter: JSON.stringify(filter) }) });
    return this.get(`/sync?${query}`);
  }
}

export function inRoom(room, below) {
  return `/rooms/${encodeURIComponent(room)}/${below}`;
}
