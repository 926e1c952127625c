// An ordinary client, unmodified, does what clients do; and does it again while its server's worker is stopped under each step.
import { expect, test } from "./fixtures.mjs";
import { openClients } from "./sdk.mjs";

test.skip(({ engine }) => engine !== "chromium", "the smoke test covers the other engines");

/** Runs in the page: two people meet and talk. `disturb` is called as each step begins. */
async function conversation() {
  const { settled, eventually, makeClient, disturb } = window;
  const step = async (action) => {
    const [result] = await Promise.all([settled(action), disturb()]);
    return result;
  };
  const alice = await step(() => makeClient("alice"));
  const bob = await step(() => makeClient("bob"));
  const { room_id: roomId } = await step(() => alice.createRoom({ name: "Hearth", preset: "private_chat" }));
  await eventually(() => alice.getRoom(roomId), "room");
  await step(() => alice.invite(roomId, bob.getUserId()).catch((error) => (/already/.test(error.message) ? undefined : Promise.reject(error))));
  await eventually(() => bob.getRoom(roomId)?.getMyMembership() === "invite", "invitation");
  await step(() => bob.joinRoom(roomId));
  await eventually(() => bob.getRoom(roomId)?.getMyMembership() === "join", "membership");

  /** Does what makes an event; what failed is sent again, as an application's "try again" does it. */
  const deliver = (client, id, first) =>
    step(() => {
      const room = client.getRoom(roomId);
      const failed = room.getPendingEvents().find((event) => event.getTxnId() === id && event.status === "not_sent");
      return failed ? client.resendEvent(failed, room) : first();
    }).then(({ event_id }) => event_id);
  const send = (client, id, type, content) => deliver(client, id, () => client.sendEvent(roomId, type, content, id));
  const text = (body) => ({ msgtype: "m.text", body });
  const hello = await send(alice, "t1", "m.room.message", text("hello"));
  const answer = await send(bob, "t2", "m.room.message", text("well met"));
  const mistake = await send(alice, "t3", "m.room.message", text("mistake"));
  await send(alice, "t4", "m.room.message", { ...text("* hello there"), "m.new_content": text("hello there"), "m.relates_to": { rel_type: "m.replace", event_id: hello } });
  await send(bob, "t5", "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: hello, key: "👋" } });
  await deliver(alice, "t6", () => alice.redactEvent(roomId, mistake, "t6"));
  for (let message = 0; message < 40; message += 1) await settled(() => alice.sendEvent(roomId, "m.room.message", text(`message ${message}`), `m${message}`));
  const last = await send(bob, "t7", "m.room.message", text("the last"));

  const seen = await eventually(() => {
    const events = bob.getRoom(roomId).getLiveTimeline().getEvents();
    return events.some((event) => event.getId() === last && !event.isSending()) && events;
  }, "last message");
  const room = bob.getRoom(roomId);
  for (let pages = 0; pages < 10 && room.oldState.paginationToken !== null; pages += 1) await step(() => bob.scrollback(room, 20));
  const events = room.getLiveTimeline().getEvents();
  const find = (id) => events.find((event) => event.getId() === id);
  const all = events.filter((event) => event.getType() === "m.room.message" && !event.isRedacted()).map((event) => event.getContent().body);
  alice.stopClient();
  bob.stopClient();
  return {
    live: seen.length,
    created: events[0].getType(),
    hello: find(hello).getContent().body,
    answer: find(answer).getContent().body,
    redacted: find(mistake).isRedacted(),
    reactions: events.filter((event) => event.getType() === "m.reaction").length,
    messages: all.filter((body) => body.startsWith("message ")),
    unique: new Set(events.map((event) => event.getId())).size === events.length,
  };
}

const EXPECTED = {
  created: "m.room.create",
  hello: "hello there",
  answer: "well met",
  redacted: true,
  reactions: 1,
  messages: Array.from({ length: 40 }, (_, message) => `message ${message}`),
  unique: true,
};

test("two clients register, meet, talk, edit, react, redact and page back", async ({ tab, site }) => {
  await openClients(tab, site);
  await tab.evaluate(() => (window.disturb = async () => {}));
  expect(await tab.evaluate(conversation)).toMatchObject(EXPECTED);
});

test("a room that was renamed while somebody was away has its new name when they come back", async ({ tab, site }) => {
  await openClients(tab, site);
  const names = await tab.evaluate(async () => {
    const { eventually, makeClient } = window;
    const [alice, bob] = [await makeClient("alice"), await makeClient("bob")];
    const { room_id: roomId } = await alice.createRoom({ name: "Before", preset: "public_chat" });
    // What happens while one is away is not to be seen later: the name must come as state.
    await alice.sendStateEvent(roomId, "m.room.history_visibility", { history_visibility: "joined" });
    await bob.joinRoom(roomId);
    await eventually(() => bob.getRoom(roomId)?.name === "Before", "first name");
    await alice.kick(roomId, bob.getUserId());
    await eventually(() => bob.getRoom(roomId).getMyMembership() === "leave", "kick");
    await alice.setRoomName(roomId, "After");
    await bob.joinRoom(roomId);
    await eventually(() => bob.getRoom(roomId).getMyMembership() === "join", "return");
    await eventually(() => bob.getRoom(roomId).name === "After", "second name");
    // Away and back between two polls.
    bob.stopClient();
    await alice.kick(roomId, bob.getUserId());
    await alice.setRoomName(roomId, "Last");
    // This client does not know that it was away, and so would not ask.
    await bob.http.authedRequest("POST", `/join/${encodeURIComponent(roomId)}`, undefined, {});
    await bob.startClient();
    await eventually(() => bob.getRoom(roomId).name === "Last", "third name");
    alice.stopClient();
    bob.stopClient();
    return [alice, bob].map((client) => client.getRoom(roomId).name);
  });
  expect(names).toEqual(["Last", "Last"]);
});

test("and again while the worker is stopped in the middle of each step", async ({ tab, site }) => {
  test.setTimeout(120_000);
  await openClients(tab, site);
  const killer = await tab.workerKiller();
  await tab.page.exposeFunction("stopWorker", () => killer.kill());
  await tab.evaluate(() => {
    window.disturb = async () => {
      await new Promise((resolve) => setTimeout(resolve, 4));
      await window.stopWorker();
    };
  });
  expect(await tab.evaluate(conversation)).toMatchObject(EXPECTED);
  expect(killer.kills).toBeGreaterThan(10);
});
