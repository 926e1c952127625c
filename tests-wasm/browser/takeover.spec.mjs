// One instance writes: whoever wants the database waits for it, has it to itself, and finds all that was written before.
import { ask, expect, test, until } from "./fixtures.mjs";

const SHARED = "?database=shared";

/** A site with two scopes, each with a worker of its own, and a tab in each. */
async function twoScopes(openTab, site) {
  site.files["one/"] = site.files["two/"] = "<!doctype html><title>Test page</title>";
  const [one, two] = [await openTab(), await openTab()];
  await one.goto(`${site.url}one/`);
  await two.goto(`${site.url}two/`);
  return [one, two];
}

/** Runs in the page: begins to start a node, and keeps what becomes of it. */
async function begin(settings) {
  const { startNode } = await import("/inglenook.js");
  const scope = location.pathname;
  window.starting = startNode({ serviceWorker: `/inglenook-sw.js${settings}`, scope }).then((node) => {
    window.node = node;
    return node.serverName;
  });
}

/** Runs in the page. */
const started = () => window.starting;

/** Runs in the page: an account and a room, as what later requests need of them. */
async function settle() {
  const call = async (path, body, token) => {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    return (await fetch(`${window.node.baseUrl}/_matrix/client/v3${path}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };
  const { access_token: token } = await call("/register", { username: "ada", password: "x".repeat(12), auth: { type: "m.login.dummy" } });
  const { room_id: room } = await call("/createRoom", {}, token);
  return { token, room };
}

const send = (tab, { token, room }, words) =>
  tab.evaluate(ask, `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/${encodeURIComponent(words)}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ msgtype: "m.text", body: words }),
  });

async function said(tab, { token, room }) {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=f&limit=50`;
  const { body } = await tab.evaluate(ask, path, { headers: { authorization: `Bearer ${token}` } });
  return body.chunk.filter(({ type }) => type === "m.room.message").map(({ content }) => content.body);
}

/** Waits until a node of the site waits for the database. */
const isWaitedFor = (tab) =>
  until(
    () => tab.evaluate(async () => (await navigator.locks.query()).pending.map(({ name }) => name)),
    (names) => Array.isArray(names) && names.includes("inglenook shared"),
  );

test("a second instance waits for the database, takes it over, and goes on with what is in it", async ({ openTab, site }) => {
  const [one, two] = await twoScopes(openTab, site);
  await one.evaluate(begin, SHARED);
  const name = await one.evaluate(started);
  const account = await one.evaluate(settle);
  expect((await send(one, account, "from the first")).status).toBe(200);

  await two.evaluate(begin, SHARED);
  await isWaitedFor(one);
  expect((await send(one, account, "while another waits")).status).toBe(200);
  await one.evaluate(() => window.node.stop());
  expect(await two.evaluate(started)).toBe(name);
  expect((await send(two, account, "from the second")).status).toBe(200);
  expect(await said(two, account)).toEqual(["from the first", "while another waits", "from the second"]);
});

test("who gives way while something is under way starts again only when it has the database", async ({ openTab, site, engine }) => {
  test.skip(engine !== "chromium", "only Chromium streams what is uploaded");
  const [one, two] = await twoScopes(openTab, site);
  await one.evaluate(begin, SHARED);
  await one.evaluate(started);
  const account = await one.evaluate(settle);
  await two.evaluate(begin, SHARED);
  await isWaitedFor(one);

  // What goes on for ever is waited for a moment, and meanwhile the next request comes.
  await one.evaluate(async ({ token }) => {
    let begun;
    const isBegun = new Promise((resolve) => (begun = resolve));
    const body = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1_000)), pull: () => (begun(), new Promise(() => {})) });
    fetch(`${window.node.baseUrl}/_matrix/media/v3/upload`, { method: "POST", headers: { authorization: `Bearer ${token}` }, body, duplex: "half" }).catch(() => {});
    await isBegun;
    await window.node.stop();
    window.again = fetch(`${window.node.baseUrl}/_matrix/client/versions`).then((response) => response.status);
  }, account);
  await two.evaluate(started);
  expect((await send(two, account, "from the second")).status).toBe(200);
  await two.evaluate(() => window.node.stop());
  expect(await one.evaluate(() => window.again)).toBe(200);
  expect((await send(one, account, "from the first")).status).toBe(200);
  expect(await said(one, account)).toEqual(["from the second", "from the first"]);
});

test("an instance whose database was claimed by another is replaced", async ({ openTab, site }) => {
  const [one] = await twoScopes(openTab, site);
  await one.evaluate(begin, SHARED);
  await one.evaluate(started);
  const account = await one.evaluate(settle);
  const claims = await one.evaluate(claim);
  expect(claims).toBeGreaterThan(0);
  expect((await send(one, account, "still here")).status).toBe(200);
  expect(await said(one, account)).toEqual(["still here"]);
});

/** Runs in the page: raises the epoch, as an instance does that believes the database to be its own. */
async function claim() {
  const request = indexedDB.open("shared");
  const database = await new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  const transaction = database.transaction([...database.objectStoreNames], "readwrite");
  let claims = 0;
  for (const name of database.objectStoreNames) {
    transaction.objectStore(name).openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (!cursor) return;
      const key = new TextDecoder("latin1").decode(cursor.key);
      if (key.startsWith("epoch") && cursor.value.length === 8) {
        claims += 1;
        const next = new Uint8Array(cursor.value);
        next[7] += 1;
        cursor.update(next);
      }
      cursor.continue();
    };
  }
  await new Promise((resolve) => (transaction.oncomplete = resolve));
  database.close();
  return claims;
}
