// The unmodified matrix-js-sdk in Node.js: clients that have synced, and how what they see is waited for.

// What the SDK says as it goes along would bury what a test says. It keeps the console that it finds when it is loaded.
for (const method of ["trace", "debug", "info", "log", "warn", "error"]) console[method] = () => {};
// It counts on Node.js 22, of which it uses this.
Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
const sdk = await import("matrix-js-sdk");

const PASSWORD = "correct horse";

/** Registers an account, logs in, and starts a client, which is synced when this returns; one that `encrypts` keeps its keys in memory. */
export async function makeClient(t, baseUrl, username, { encrypts = false } = {}) {
  const anonymous = sdk.createClient({ baseUrl });
  await anonymous.registerRequest({ username, password: PASSWORD, auth: { type: "m.login.dummy" }, inhibit_login: true });
  const identifier = { type: "m.id.user", user: username };
  const session = await anonymous.loginRequest({ type: "m.login.password", identifier, password: PASSWORD });
  const { access_token: accessToken, user_id: userId, device_id: deviceId } = session;
  const client = sdk.createClient({ baseUrl, accessToken, userId, deviceId, disableVoip: true });
  if (encrypts) await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 30, pendingEventOrdering: "detached" });
  t.after(() => client.stopClient());
  await eventually(client, () => ["PREPARED", "SYNCING"].includes(client.getSyncState()));
  return client;
}

/** Waits until something is so, looking again after each of the client's syncs, and when something was decrypted. */
export function eventually(client, found) {
  const occasions = ["sync", "Event.decrypted"];
  return new Promise((resolve) => {
    const look = () => {
      const value = found();
      if (!value) return;
      for (const occasion of occasions) client.off(occasion, look);
      resolve(value);
    };
    for (const occasion of occasions) client.on(occasion, look);
    look();
  });
}

/** The events of a room that the client has before it, oldest first. */
export function timeline(client, room) {
  return client.getRoom(room)?.getLiveTimeline().getEvents() ?? [];
}

/** Waits for what somebody else wrote in a room. */
export function hears(client, room, body) {
  return eventually(client, () => timeline(client, room).find((event) => event.getContent().body === body));
}

/** Sends a text until it is taken, as people do whose server is away just now. */
export async function insists(client, room, body) {
  return client.sendTextMessage(room, body).catch(() => insists(client, room, body));
}
