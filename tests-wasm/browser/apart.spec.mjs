// Two nodes that are apart for long, and what they do by the API when they are together: requests that no demo makes.
import { createHash, generateKeyPairSync, sign } from "node:crypto";

import { expect, until } from "./fixtures.mjs";
import { PATIENCE_MILLIS, askAs, couple, seesMessageSoon, test, tokenOf } from "./people.mjs";
import { say } from "./demo.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs profiles of their own, which only Playwright's browser has");

const LINES = 1_000;
const KILLS = 8;
const ROOMS = "_matrix/client/v3/rooms";

const ask = ({ tab }, method, path, body) => tab.evaluate(askAs, method, path, body);

async function asked(person, method, path, body) {
  const answer = await ask(person, method, path, body);
  expect(answer, path).toMatchObject({ status: 200 });
  return answer.body;
}

const roomOf = ({ tab }) => tab.evaluate(() => encodeURIComponent(decodeURIComponent(location.hash.split("/room/")[1])));
const userOf = async (person) => (await asked(person, "GET", "_matrix/client/v3/account/whoami")).user_id;

/** Asks again until the body is what is waited for, also while the worker is not there. */
const answers = (person, path, wanted) =>
  until(() => ask(person, "GET", path), (answer) => answer.status === 200 && wanted(answer.body), PATIENCE_MILLIS).then(({ body }) => body);

/** Runs in the page: sends so many lines, each once it is known that the one before it is kept. */
async function sendLines(token, room, count) {
  for (let line = 1; line <= count; ) {
    const body = JSON.stringify({ msgtype: "m.text", body: `Line ${line}` });
    const response = await fetch(`_matrix/client/v3/rooms/${room}/send/m.room.message/line${line}`, { method: "PUT", headers: { authorization: `Bearer ${token}` }, body });
    if (response.status === 200) line += 1;
    else if (response.status === 429) await new Promise((resolve) => setTimeout(resolve, response.headers.get("retry-after") * 1000));
    else throw new Error(await response.text());
  }
}

/** All lines that a node has of the room, oldest first. */
async function lines(person, room) {
  const found = [];
  for (let from = ""; from !== undefined; ) {
    const page = await asked(person, "GET", `${ROOMS}/${room}/messages?dir=f&limit=200${from && `&from=${encodeURIComponent(from)}`}`);
    found.push(...page.chunk.map(({ content }) => content.body).filter((body) => body?.startsWith("Line ")));
    from = page.end;
  }
  return found;
}

/** Canonical JSON of what has no numbers but small ones. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

const unpadded = (bytes) => bytes.toString("base64").replace(/=+$/, "");

/** A device's keys and one fallback key, signed as a client signs them. */
function deviceKeys(user, device) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const ed25519 = unpadded(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
  const curve25519 = unpadded(createHash("sha256").update(ed25519).digest());
  const signed = (object) => ({ ...object, signatures: { [user]: { [`ed25519:${device}`]: unpadded(sign(null, Buffer.from(canonical(object)), privateKey)) } } });
  return {
    device_keys: signed({ user_id: user, device_id: device, algorithms: ["m.olm.v1.curve25519-aes-sha2"], keys: { [`ed25519:${device}`]: ed25519, [`curve25519:${device}`]: curve25519 } }),
    fallback_keys: { "signed_curve25519:AAAAAQ": signed({ key: curve25519, fallback: true }) },
  };
}

async function depositsAt(relay) {
  const text = await (await fetch(`${relay.url}/metrics`)).text();
  return Number(text.match(/^inglenook_relay_deposits_total (\d+)/m)[1]);
}

test(`${LINES} messages, an invitation and a claimed key for somebody who is away, whose worker dies while it catches up`, async ({ person, site, relay }) => {
  test.setTimeout(8 * PATIENCE_MILLIS);
  const { ada, bo } = await couple(person, site);
  const room = await roomOf(ada);
  const { user_id: user, device_id: device } = await asked(bo, "GET", "_matrix/client/v3/account/whoami");
  await say(bo.tab, "I am off.");
  await seesMessageSoon(ada.tab, "I am off.");
  const before = await depositsAt(relay);
  const keys = deviceKeys(user, device);
  await asked(bo, "POST", "_matrix/client/v3/keys/upload", keys);
  // Devices and fallback keys.
  await until(() => depositsAt(relay), (count) => count >= before + 2, PATIENCE_MILLIS);
  await bo.close();

  const claimed = await asked(ada, "POST", "_matrix/client/v3/keys/claim", { one_time_keys: { [user]: { [device]: "signed_curve25519" } } });
  expect(claimed.one_time_keys[user][device]).toEqual(keys.fallback_keys);
  const queried = await asked(ada, "POST", "_matrix/client/v3/keys/query", { device_keys: { [user]: [] } });
  expect(queried.device_keys[user][device].keys).toEqual(keys.device_keys.keys);

  await ada.tab.evaluate(sendLines, await tokenOf(ada), room, LINES);
  const { room_id: second } = await asked(ada, "POST", "_matrix/client/v3/createRoom", { name: "Attic", invite: [user] });
  const sent = await lines(ada, room);
  expect(sent.length).toBe(LINES);
  const { chunk } = await asked(ada, "GET", `${ROOMS}/${room}/messages?dir=b&limit=1`);
  const last = chunk[0].event_id;
  await answers(ada, `_inglenook/rooms/${room}/delivery?event_id=${encodeURIComponent(last)}`, ({ events }) =>
    Object.values(events[last].destinations).every(({ state }) => state === "at_relay"));
  await ada.close();

  await bo.open(site.url);
  const killer = await bo.tab.workerKiller();
  const newest = async () => Number((await ask(bo, "GET", `${ROOMS}/${room}/messages?dir=b&limit=1`)).body.chunk?.[0]?.content.body?.match(/^Line (\d+)$/)?.[1] ?? 0);
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await until(newest, (line) => line >= (kill * LINES) / (KILLS + 1), PATIENCE_MILLIS);
    await killer.kill();
  }
  await until(newest, (line) => line === LINES, PATIENCE_MILLIS);
  expect(await lines(bo, room)).toEqual(sent);
  const { rooms } = await answers(bo, "_matrix/client/v3/sync", ({ rooms }) => rooms?.invite?.[second]);
  expect(rooms.invite[second].invite_state.events.find(({ type }) => type === "m.room.name").content).toEqual({ name: "Attic" });
});

test("a file, a restricted door, a room's successor and presence between two browsers", async ({ person, site }) => {
  test.setTimeout(4 * PATIENCE_MILLIS);
  const { ada, bo } = await couple(person, site);
  const [first, ofBo] = [await roomOf(ada), await userOf(bo)];

  const uri = await ada.tab.evaluate(async (token) => {
    const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 7) % 251);
    const response = await fetch("_matrix/media/v3/upload?filename=seven.bin", { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" }, body: bytes });
    return (await response.json()).content_uri;
  }, await tokenOf(ada));
  const differing = await bo.tab.evaluate(async (token, path) => {
    const response = await fetch(`_matrix/client/v1/media/download/${path}`, { headers: { authorization: `Bearer ${token}` } });
    const bytes = new Uint8Array(await response.arrayBuffer());
    return { status: response.status, length: bytes.length, differing: bytes.findIndex((byte, index) => byte !== (index * 7) % 251) };
  }, await tokenOf(bo), uri.replace("mxc://", ""));
  expect(differing).toEqual({ status: 200, length: 3_000_000, differing: -1 });

  // Whoever is in the first room may come into the second.
  const rule = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: decodeURIComponent(first) }] };
  const { room_id: club } = await asked(ada, "POST", "_matrix/client/v3/createRoom", { name: "Club", initial_state: [{ type: "m.room.join_rules", content: rule }] });
  const via = (await userOf(ada)).split(":")[1];
  await asked(bo, "POST", `_matrix/client/v3/join/${encodeURIComponent(club)}?via=${via}`, {});
  await answers(ada, `${ROOMS}/${encodeURIComponent(club)}/joined_members`, ({ joined }) => ofBo in joined);

  const { replacement_room: successor } = await asked(ada, "POST", `${ROOMS}/${encodeURIComponent(club)}/upgrade`, { new_version: "12" });
  const tombstone = await answers(bo, `${ROOMS}/${encodeURIComponent(club)}/state/m.room.tombstone/`, () => true);
  expect(tombstone.replacement_room).toBe(successor);
  await asked(bo, "POST", `_matrix/client/v3/join/${encodeURIComponent(successor)}?via=${via}`, {});
  await answers(ada, `${ROOMS}/${encodeURIComponent(successor)}/joined_members`, ({ joined }) => ofBo in joined);

  await asked(bo, "PUT", `_matrix/client/v3/presence/${encodeURIComponent(ofBo)}/status`, { presence: "unavailable", status_msg: "By the window" });
  await answers(ada, `_matrix/client/v3/presence/${encodeURIComponent(ofBo)}/status`, ({ status_msg }) => status_msg === "By the window");
});
