// The unmodified matrix-js-sdk against a host, in Node.js.
import assert from "node:assert/strict";
import { test } from "node:test";

import { folder, startHost } from "./support.mjs";

// What the SDK says as it goes along would bury what the test says. It keeps the console that it finds when it is loaded.
for (const method of ["trace", "debug", "info", "log", "warn", "error"]) console[method] = () => {};
// It counts on Node.js 22, of which it uses this.
Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};
const sdk = await import("matrix-js-sdk");

/** Registers an account and starts a client for it, which is synced when this returns. */
async function makeClient(t, baseUrl, username) {
  const anonymous = sdk.createClient({ baseUrl });
  const session = await anonymous.registerRequest({ username, password: "correct horse", auth: { type: "m.login.dummy" } });
  const { access_token: accessToken, user_id: userId, device_id: deviceId } = session;
  const client = sdk.createClient({ baseUrl, accessToken, userId, deviceId, disableVoip: true });
  await client.startClient({ initialSyncLimit: 30, pendingEventOrdering: "detached" });
  t.after(() => client.stopClient());
  await eventually(client, () => ["PREPARED", "SYNCING"].includes(client.getSyncState()));
  return client;
}

/** Waits until something is so, looking again after each of the client's syncs. */
function eventually(client, found) {
  return new Promise((resolve) => {
    const look = () => {
      const value = found();
      if (!value) return;
      client.off("sync", look);
      resolve(value);
    };
    client.on("sync", look);
    look();
  });
}

const messages = (client, room) => client.getRoom(room)?.getLiveTimeline().getEvents().map((event) => event.getContent().body).filter(Boolean) ?? [];

test("matrix-js-sdk talks through a host, before and after a restart", async (t) => {
  const dir = await folder(t);
  const first = await startHost(t, ["--data", dir, "--server-name", "example.org"]);
  const [alice, bob] = [await makeClient(t, first.url, "alice"), await makeClient(t, first.url, "bob")];
  const { room_id: room } = await alice.createRoom({ name: "Hearth", preset: "public_chat", room_alias_name: "hearth" });
  await bob.joinRoom("#hearth:example.org");
  await eventually(bob, () => bob.getRoom(room)?.getMyMembership() === "join");
  await alice.sendTextMessage(room, "hello");
  await eventually(bob, () => messages(bob, room).includes("hello"));
  const reaction = { "m.relates_to": { rel_type: "m.annotation", event_id: (await bob.sendTextMessage(room, "hi")).event_id, key: "👍" } };
  await alice.sendEvent(room, "m.reaction", reaction);
  await eventually(bob, () => bob.getRoom(room).getLiveTimeline().getEvents().some((event) => event.getType() === "m.reaction"));
  const uploaded = await alice.uploadContent(new Blob(["a file"]), { type: "text/plain" });
  assert.match(uploaded.content_uri, /^mxc:\/\/example\.org\//);

  // The clients find the host where they left it.
  await first.stop();
  await startHost(t, ["--data", dir, "--listen", `127.0.0.1:${new URL(first.url).port}`]);
  const insist = async (send) => send().catch(() => insist(send));
  await insist(() => alice.sendTextMessage(room, "still there?"));
  await eventually(bob, () => messages(bob, room).includes("still there?"));
});
