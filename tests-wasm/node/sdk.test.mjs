// The unmodified matrix-js-sdk against a host, in Node.js.
import assert from "node:assert/strict";
import { test } from "node:test";

import { freePort } from "../port.mjs";
import { eventually, hears, insists, makeClient, timeline } from "./sdk.mjs";
import { folder, startHost } from "./support.mjs";

test("matrix-js-sdk talks through a host, before and after a restart", async (t) => {
  const dir = await folder(t);
  const place = ["--data", dir, "--listen", `127.0.0.1:${await freePort()}`];
  const first = await startHost(t, [...place, "--server-name", "example.org"]);
  const [alice, bob] = [await makeClient(t, first.url, "alice"), await makeClient(t, first.url, "bob")];
  const { room_id: room } = await alice.createRoom({ name: "Hearth", preset: "public_chat", room_alias_name: "hearth" });
  await bob.joinRoom("#hearth:example.org");
  await eventually(bob, () => bob.getRoom(room)?.getMyMembership() === "join");
  await alice.sendTextMessage(room, "hello");
  await hears(bob, room, "hello");
  const reaction = { "m.relates_to": { rel_type: "m.annotation", event_id: (await bob.sendTextMessage(room, "hi")).event_id, key: "👍" } };
  await alice.sendEvent(room, "m.reaction", reaction);
  await eventually(bob, () => timeline(bob, room).some((event) => event.getType() === "m.reaction"));
  const uploaded = await alice.uploadContent(new Blob(["a file"]), { type: "text/plain" });
  assert.match(uploaded.content_uri, /^mxc:\/\/example\.org\//);

  // The clients find the host where they left it.
  await first.stop();
  await startHost(t, place);
  await insists(alice, room, "still there?");
  await hears(bob, room, "still there?");
});
