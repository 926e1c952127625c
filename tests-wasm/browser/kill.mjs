// The kill loop: a worker that is stopped at random moments while it is written to. Shared by the kill test and the benchmark.
import { random } from "../random.mjs";

/**
 * Stops the worker that often, and gives what was acknowledged meanwhile, how many requests were lost, and for each request that
 * was, the time from the page's learning of it to the answer.
 */
export async function killLoop(tab, rounds, seed) {
  const killer = await tab.workerKiller();
  const next = random(seed);
  await tab.evaluate(begin);
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, next() * 350));
    await killer.kill();
  }
  return { ...(await tab.evaluate(() => window.finish())), kills: killer.kills };
}

/** Runs in the page: makes an account and a room, and keeps sending until it is told to stop. */
async function begin() {
  const base = `${window.node.baseUrl}/_matrix/client/v3`;
  const call = async (method, path, body) => {
    const response = await fetch(base + path, { method, body: body && JSON.stringify(body), headers: { ...(window.token && { authorization: `Bearer ${window.token}` }) } });
    return { status: response.status, body: await response.json() };
  };
  const account = await call("POST", "/register", { username: "alice", password: "x".repeat(12), auth: { type: "m.login.dummy" } });
  window.token = account.body.access_token;
  const room = (await call("POST", "/createRoom", { name: "Hearth" })).body.room_id;
  const acknowledged = {};
  const rooms = [];
  let lost = 0;
  const wakeUps = [];
  window.call = call;
  window.running = true;

  /** Repeats a request whose worker died, under the same transaction ID, until it is answered. */
  const insist = async (request) => {
    let lostAt;
    for (;;) {
      const answer = await request().catch(() => undefined);
      if (answer?.status === 200) {
        if (lostAt) wakeUps.push(performance.now() - lostAt);
        return answer.body;
      }
      if (answer && answer.status < 500) throw new Error(JSON.stringify(answer));
      lost += 1;
      lostAt ??= performance.now();
    }
  };
  const sending = (async () => {
    for (let message = 0; window.running; message += 1) {
      const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/t${message}`;
      const { event_id } = await insist(() => call("PUT", path, { msgtype: "m.text", body: `message ${message}` }));
      acknowledged[`t${message}`] = event_id;
    }
  })();
  const creating = (async () => {
    while (window.running) {
      const answer = await call("POST", "/createRoom", { name: "Whole", topic: "or not at all", preset: "public_chat" }).catch(() => undefined);
      if (answer?.status === 200) rooms.push(answer.body.room_id);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  })();
  window.finish = async () => {
    window.running = false;
    await Promise.all([sending, creating]);
    return { room, acknowledged, rooms, lost, wakeUps };
  };
}
