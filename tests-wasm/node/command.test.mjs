// The command: its help, its options, its exit codes, its ready line and its end.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { OPTIONS, readCommand } from "../../pkg/host/options.mjs";
import { User, call, folder, run, startHost } from "./support.mjs";

test("--help names every option and --version the version", async () => {
  const help = await run(["--help"]);
  assert.equal(help.code, 0);
  for (const option of Object.keys(OPTIONS)) assert.match(help.stdout, new RegExp(`^  --${option} [A-Z:=a-z|]+`, "m"), option);
  assert.match((await run(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
});

test("wrong options are named, with exit code 2 and nothing on stdout", async (t) => {
  const dir = await folder(t);
  const [noJson, unknown, empty] = ["no.json", "unknown.json", "empty.json"].map((name) => join(dir, name));
  await writeFile(noJson, "{");
  await writeFile(unknown, `{ "lisetn": ["127.0.0.1:8008"] }`);
  await writeFile(empty, `{ "listen": [] }`);
  for (const [args, said] of [
    [[], /no command/],
    [["sevre"], /sevre/],
    [["serve", "twice"], /twice/],
    [["serve", "--listen", "8008"], /--listen must be HOST:PORT/],
    [["serve", "--listen", "127.0.0.1:70000"], /--listen must be HOST:PORT/],
    [["serve", "--listen-tls", "127.0.0.1:8448"], /--tls-cert/],
    [["serve", "--tls-cert", "a.pem"], /--listen-tls, --tls-cert and --tls-key go together/],
    [["serve", "--tls-key", "a.pem"], /--listen-tls, --tls-cert and --tls-key go together/],
    [["serve", "--listen", "127.0.0.1:0", "--tls-cert", "a.pem", "--tls-key", "b.pem"], /--listen-tls, --tls-cert and --tls-key go together/],
    [["serve", "--listen-tls", "127.0.0.1:8448", "--tls-cert", "a.pem"], /--tls-key/],
    [["serve", "--base-url", "nonsense"], /--base-url must be an http or https URL/],
    [["serve", "--address-connections", "many"], /whole number/],
    [["serve", "--forwarded-header", "a header"], /a header's name/],
    [["serve", "--registration", "open", "--registration-token", "swordfish"], /--registration token/],
    [["serve", "--registration", "maybe"], /open, token or closed/],
    [["serve", "--registration", "token"], /--registration-token/],
    [["serve", "--rate-limits", "slow"], /on or off/],
    [["serve", "--relay", "relay.example"], /http or https URL/],
    [["serve", "--gateway", "gw.example"], /--gateway needs the --relay/],
    [["serve", "--gateway", "gw.example", "--relay", "https://relay.example", "--server-name", "a.example"], /choose one/],
    [["serve", "--notary", "one.example/two"], /--notary must be a server's name/],
    [["serve", "--notary", "one.example", "--notary", "one.example"], /two of them/],
    [["serve", "--federation-resolve", "a.example"], /NAME=HOST:PORT/],
    [["serve", "--data", ""], /--data/],
    [["serve", "--log", "loud"], /--log/],
    [["serve", "--config", noJson], /cannot be read/],
    [["serve", "--config", unknown], /"lisetn", which is no option/],
    [["serve", "--config", empty], /--listen needs at least one/],
  ]) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, said);
  }
});

test("what is in the way of a start is said, with exit code 1", async (t) => {
  const dir = await folder(t);
  const blocker = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => blocker.once("listening", resolve));
  t.after(() => blocker.close());
  const { port } = blocker.address();
  const taken = await run(["serve", "--data", ":memory:", "--listen", `127.0.0.1:${port}`]);
  assert.deepEqual([taken.code, taken.stdout], [1, ""]);
  assert.match(taken.stderr, new RegExp(`cannot listen on 127.0.0.1:${port}`));

  const host = await startHost(t, ["--data", dir, "--server-name", "one.example"]);
  const locked = await run(["serve", "--data", dir, "--listen", "127.0.0.1:0"]);
  assert.equal(locked.code, 1);
  assert.match(locked.stderr, /in use by another process/);
  await host.stop();

  const renamed = await run(["serve", "--data", dir, "--server-name", "two.example", "--listen", "127.0.0.1:0"]);
  assert.equal(renamed.code, 1);
  assert.match(renamed.stderr, /belongs to one\.example/);
  const misnamed = await run(["serve", "--data", ":memory:", "--server-name", "a b", "--listen", "127.0.0.1:0"]);
  assert.equal(misnamed.code, 1);
  assert.match(misnamed.stderr, /no server name/);
  const noDomain = await run(["serve", "--data", ":memory:", "--relay", "https://relay.example", "--gateway", "gw.example:443", "--listen", "127.0.0.1:0"]);
  assert.equal(noDomain.code, 1);
  assert.match(noDomain.stderr, /a gateway's domain is a host/);
  const noNotary = await run(["serve", "--data", ":memory:", "--notary", "one.example:port", "--notary", "two.example", "--listen", "127.0.0.1:0"]);
  assert.equal(noNotary.code, 1);
  assert.match(noNotary.stderr, /the notary "one\.example:port" is no server name/);
  const noFile = await run(["serve", "--data", ":memory:", "--ca", join(dir, "none.pem")]);
  assert.equal(noFile.code, 1);
  assert.match(noFile.stderr, /none\.pem cannot be read/);
});

test("a signal ends polls at once and then the process, with exit code 0 and one line on stdout", async (t) => {
  const host = await startHost(t, ["--data", await folder(t)]);
  const alice = await User.register(host, "alice");
  const { next_batch } = await alice.get("/sync");
  const poll = alice.get(`/sync?since=${next_batch}&timeout=25000`);
  const polls = async () => (await call(host.url, "GET", "/_inglenook/metrics")).body.toString().includes("inglenook_http_requests_total");
  assert.ok(await polls());
  assert.deepEqual(await host.stop(), { code: 0, signal: null });
  assert.ok((await poll).next_batch, "the poll was answered");
  assert.equal(host.lines.length, 1);
});

test("options come from the command line, then from the environment, then from the file", async (t) => {
  const file = join(await folder(t), "config.json");
  await writeFile(file, JSON.stringify({ "server-name": "file.example", "base-url": "https://file.example", registration: "closed" }));
  const env = { INGLENOOK_CONFIG: file, INGLENOOK_SERVER_NAME: "environment.example", INGLENOOK_DATA: ":memory:", INGLENOOK_REGISTRATION: "closed" };
  const host = await startHost(t, [], { env });
  assert.equal(host.name, "environment.example");
  assert.equal((await call(host.url, "GET", "/.well-known/matrix/client")).body["m.homeserver"].base_url, "https://file.example");
  await User.register(host, "alice");
});

test("what stands nearer counts, also between options that belong together", async (t) => {
  const file = join(await folder(t), "config.json");
  await writeFile(file, JSON.stringify({ registration: "token", "registration-token": "swordfish", "address-connections": 7 }));
  const read = (args, env = {}) => readCommand(["serve", ...args], env).options;
  const registration = (...given) => [read(...given).registration, read(...given).registrationToken];
  const ofFile = ["--config", file];
  assert.deepEqual(registration(ofFile), ["token", "swordfish"]);
  assert.deepEqual(registration([...ofFile, "--registration", "open"]), ["open", undefined]);
  assert.deepEqual(registration(["--registration", "closed"], { INGLENOOK_REGISTRATION: "token", INGLENOOK_REGISTRATION_TOKEN: "x" }), ["closed", undefined]);
  assert.deepEqual(registration(["--registration-token", "mine"], { INGLENOOK_REGISTRATION: "open" }), ["token", "mine"]);
  assert.deepEqual(registration(["--registration", "token"], { INGLENOOK_REGISTRATION_TOKEN: "x" }), ["token", "x"]);
  assert.equal(read(ofFile).callers.connections, 7);
  assert.equal(read([...ofFile, "--address-connections", "0"]).callers.connections, 0);
});

test("several values of the environment may have spaces between them", () => {
  const { options } = readCommand(["serve"], {
    INGLENOOK_FEDERATION_RESOLVE: "a.example=127.0.0.1:1, b.example=127.0.0.1:2",
    INGLENOOK_RELAY: "https://a.example , https://b.example",
    INGLENOOK_NOTARY: "a.example, b.example",
  });
  assert.deepEqual([...options.resolve], [["a.example", { host: "127.0.0.1", port: 1 }], ["b.example", { host: "127.0.0.1", port: 2 }]]);
  assert.deepEqual([options.relays, options.notaries], [["https://a.example", "https://b.example"], ["a.example", "b.example"]]);
});

test("a fault ends the process with exit code 70, and says what it was", async () => {
  const script = `const waiting = setInterval(() => { if (process.listenerCount("uncaughtException") > 0) throw new Error("made for a test"); }, 10); waiting.unref();`;
  const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(script)}` };
  const { code, stderr } = await run(["serve", "--data", ":memory:", "--listen", "127.0.0.1:0"], env);
  assert.equal(code, 70);
  assert.match(stderr, /a fault: Error: made for a test/);
});

test("a host whose output nobody reads any more goes on, and stops when it is told to", async (t) => {
  const host = await startHost(t, ["--data", ":memory:", "--log", "debug"]);
  host.child.stderr.destroy();
  host.child.stdout.destroy();
  const alice = await User.register(host, "alice");
  for (let count = 0; count < 3; count += 1) await alice.get("/sync");
  assert.deepEqual(await host.stop(), { code: 0, signal: null });
});

test("who may make an account, and who may look inside, is as the options say", async (t) => {
  const register = async (args, auth) => {
    const host = await startHost(t, ["--data", ":memory:", ...args]);
    const body = { username: "alice", password: "correct horse", auth };
    return { host, answer: await call(host.url, "POST", "/_matrix/client/v3/register", { body }) };
  };
  assert.equal((await register(["--registration", "closed"], { type: "m.login.dummy" })).answer.status, 403);
  const byToken = ["--registration", "token", "--registration-token", "swordfish"];
  assert.equal((await register(byToken, { type: "m.login.dummy" })).answer.status, 401);
  assert.equal((await register(byToken, { type: "m.login.registration_token", token: "swordfish" })).answer.status, 200);
  for (const [inspection, status] of [["off", 403], ["on", 200]]) {
    const { host, answer } = await register(["--inspection", inspection], { type: "m.login.dummy" });
    const inside = await call(host.url, "GET", "/_inglenook/status", { token: answer.body.access_token });
    assert.equal(inside.status, status);
    if (status === 200) assert.equal(inside.body.users, 1);
  }
});

test("a name is made of the key where none is given, and stays", async (t) => {
  const dir = await folder(t);
  const first = await startHost(t, ["--data", dir]);
  assert.match(first.name, /^[a-z2-7]{52}$/);
  await first.stop();
  assert.equal((await startHost(t, ["--data", dir])).name, first.name);
});
