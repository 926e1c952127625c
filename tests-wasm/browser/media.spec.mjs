// Media through the real worker: streamed in, given out whole and in part, and scaled by the browser's own decoder; and storage that is full.
import { expect, startNode, test, until } from "./fixtures.mjs";

/** Runs in the page: an account, and what the tests ask of its server. */
async function prepare() {
  const base = window.node.baseUrl;
  window.call = async (method, path, { body, headers } = {}) => {
    const response = await fetch(base + path, { method, body, headers: { ...(window.token && { authorization: `Bearer ${window.token}` }), ...headers } });
    return { status: response.status, headers: Object.fromEntries(response.headers), bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  window.json = ({ status, bytes }) => ({ status, body: JSON.parse(new TextDecoder().decode(bytes)) });
  const account = { username: "alice", password: "x".repeat(12), auth: { type: "m.login.dummy" } };
  window.token = window.json(await window.call("POST", "/_matrix/client/v3/register", { body: JSON.stringify(account) })).body.access_token;
  window.upload = async (body, type) => {
    const { body: answer } = window.json(await window.call("POST", "/_matrix/media/v3/upload", { body, headers: { "content-type": type } }));
    return answer.content_uri.slice("mxc://".length);
  };
  /** A picture: red above, blue below. */
  window.picture = async (width, height, type) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    for (const [colour, top] of [["red", 0], ["blue", height / 2]]) {
      context.fillStyle = colour;
      context.fillRect(0, top, width, height / 2);
    }
    return canvas.convertToBlob({ type });
  };
}

test("a large file comes back byte for byte, whole and in part, by the newer and the older path", async ({ tab, site }) => {
  await startNode(tab, site);
  await tab.evaluate(prepare);
  const found = await tab.evaluate(async () => {
    const { call, upload } = window;
    const file = new Uint8Array(20 << 20);
    for (let index = 0; index < file.length; index += 1) file[index] = (index * 7 + (index >> 8)) & 255;
    const id = await upload(new Blob([file]), "video/mp4");
    const same = (bytes, from) => bytes.every((byte, index) => byte === file[from + index]);
    const [newer, older] = [`/_matrix/client/v1/media/download/${id}`, `/_matrix/media/v3/download/${id}`];
    const whole = await call("GET", newer);
    const part = await call("GET", newer, { headers: { range: "bytes=10000000-10000999" } });
    const head = await call("HEAD", newer);
    const old = await call("GET", older);
    const { token } = window;
    window.token = undefined;
    const strangers = [await call("GET", newer), await call("GET", older)].map(({ status }) => status);
    window.token = token;
    return {
      whole: [whole.status, whole.bytes.length === file.length && same(whole.bytes, 0), whole.headers["content-type"], whole.headers["content-length"]],
      part: [part.status, part.bytes.length, same(part.bytes, 10_000_000), part.headers["content-range"]],
      head: [head.status, head.bytes.length, head.headers["content-length"]],
      old: [old.status, old.bytes.length === file.length && same(old.bytes, 0)],
      strangers,
    };
  });
  expect(found).toEqual({
    whole: [200, true, "video/mp4", "20971520"],
    part: [206, 1_000, true, "bytes 10000000-10000999/20971520"],
    head: [200, 0, "20971520"],
    old: [200, true],
    strangers: [401, 200],
  });
});

test("thumbnails are made by the browser, and never larger than the picture", async ({ tab, site }) => {
  await startNode(tab, site);
  await tab.evaluate(prepare);
  const sizes = await tab.evaluate(async () => {
    const found = {};
    for (const type of ["image/png", "image/jpeg", "image/webp"]) {
      const blob = await window.picture(2_000, 1_000, type);
      // Not every engine encodes WebP, and then it says what it made instead.
      if (blob.type !== type) continue;
      const id = await window.upload(blob, type);
      for (const query of ["width=96&height=96&method=crop", "width=640&height=480", "width=800&height=800&method=scale", "width=5000&height=5000&method=scale"]) {
        const { status, bytes, headers } = await window.call("GET", `/_matrix/client/v1/media/thumbnail/${id}?${query}`);
        const image = status === 200 ? await createImageBitmap(new Blob([bytes], { type: headers["content-type"] })) : {};
        found[`${type} ${query}`] = `${status} ${image.width}x${image.height}`;
      }
    }
    return found;
  });
  for (const [asked, made] of Object.entries(sizes)) {
    const expected = asked.includes("crop") ? "96x96" : asked.includes("640") ? "640x320" : asked.includes("800") ? "800x400" : asked.includes("webp") ? "1600x800" : "2000x1000";
    expect(`${asked}: ${made}`).toBe(`${asked}: 200 ${expected}`);
  }
  expect(Object.keys(sizes).length).toBeGreaterThanOrEqual(8);
});

test("a full storage is said, leaves nothing by halves, and is no end", async ({ engine, tab, site }) => {
  test.skip(engine !== "chromium", "only Chromium lets a test set the quota");
  test.setTimeout(120_000);
  await startNode(tab, site);
  await tab.evaluate(prepare);
  const session = await tab.page.context().newCDPSession(tab.page);
  const origin = new URL(site.url).origin;
  const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin, ...(quotaSize && { quotaSize }) });
  await tab.evaluate(async () => {
    const { call, json } = window;
    const room = json(await call("POST", "/_matrix/client/v3/createRoom", { body: "{}" })).body.room_id;
    window.room = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}`;
    window.send = async (transaction, body) => json(await call("PUT", `${window.room}/send/m.room.message/${transaction}`, { body: JSON.stringify({ msgtype: "m.text", body }) }));
    window.bodies = async () => {
      const { body } = json(await call("GET", `${window.room}/messages?dir=f&limit=1000`));
      return body.chunk.filter(({ type }) => type === "m.room.message").map(({ content }) => content.body.slice(0, 20));
    };
  });
  expect((await tab.evaluate(() => window.send("before", "before"))).status).toBe(200);
  await tab.evaluate(() => {
    window.told = [];
    window.node.addEventListener("storage", () => window.told.push(window.node.stored));
  });
  await quota(1_000);
  // Chromium lets small writes pass for a while on what was left when it looked last.
  const sent = ["before"];
  const refused = await until(async () => {
    const body = `${sent.length} ${"x".repeat(50_000)}`;
    const answer = await tab.evaluate((transaction, body) => window.send(transaction, body), `t${sent.length}`, body);
    if (answer.status === 200) sent.push(body.slice(0, 20));
    return answer;
  }, ({ status }) => status !== 200, 60_000);
  expect(refused).toMatchObject({ status: 507, body: { errcode: "M_RESOURCE_LIMIT_EXCEEDED" } });
  expect(refused.body.error).toContain("free some");
  const [told] = await until(() => tab.evaluate(() => window.told), (told) => told.length > 0);
  expect(told).toMatchObject({ full: true, quota: expect.any(Number) });
  const upload = await tab.evaluate(async () => window.json(await window.call("POST", "/_matrix/media/v3/upload", { body: new Uint8Array(1 << 20), headers: { "content-type": "image/png" } })));
  expect(upload.status).toBe(507);
  expect(await tab.evaluate(() => window.bodies())).toEqual(sent);
  await quota();
  await until(() => tab.evaluate((transaction) => window.send(transaction, "after all"), `t${sent.length}`), ({ status }) => status === 200);
  expect(await tab.evaluate(() => window.bodies())).toEqual([...sent, "after all"]);
});
