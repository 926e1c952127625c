// The Node host beside Synapse on the same machine in the same run, as JSON lines; each figure is a median over several rounds.
//
// The first line says what was measured: versions and the day.
//
//   cargo xtask bench node [--quick] [--rooms N] [--users N] [--rounds N]

import { parseArgs } from "node:util";

import { call, hangUp } from "./node/client.mjs";
import { Elsewhere } from "./node/elsewhere.mjs";
import { memory, threeServers } from "./node/servers.mjs";
import { median, Steps } from "./node/steps.mjs";

const { values: given } = parseArgs({
  options: { quick: { type: "boolean" }, rooms: { type: "string" }, users: { type: "string" }, rounds: { type: "string" } },
});
const { quick } = given;
const SIZES = {
  rooms: Number(given.rooms ?? (quick ? 5 : 100)),
  members: 20,
  messages: 200,
  crowd: Number(given.users ?? (quick ? 20 : 200)),
  chatter: quick ? 2 : 5,
  runs: quick ? 80 : 200,
  elsewhere: quick ? 100 : 1_000,
  /** So many events more, made in one go, do not make a start longer. Synapse takes too long to make them, and is not asked. */
  events: quick ? 2_000 : 100_000,
};
const ROUNDS = Number(given.rounds ?? (quick ? 2 : 5));

/** How many times as fast the host is to be, and how much less memory it is to take. */
const AIM = 5;
const MEMORY_AIM = 4;

/** What is measured: its name, unit and step, and whether more is better. */
const MEASURED = [
  ["send", "ms", "send"],
  ["send, 8 in flight, each", "ms", "sendTogether"],
  ["PUT to sync", "ms", "putToSync"],
  ["createRoom", "ms", "createRoom"],
  ["messages, 50 events", "ms", "messages"],
  [`initial sync of ${SIZES.rooms} rooms`, "ms", "initialSync"],
  [`${SIZES.crowd} users syncing and sending`, "messages/s", "crowdPerSecond"],
  [`join of a room elsewhere with ${SIZES.elsewhere} members`, "ms", "joinElsewhere"],
  ["the same, until its members are told", "ms", "meetElsewhere"],
];

const note = (text) => process.stderr.write(`${text}\n`);
const rounded = (value) => Math.round(value * 100) / 100;

/** What is measured, as each says of itself. */
async function reportVersions() {
  const [inglenook, synapse] = await Promise.all(servers.map(async ({ url }) => (await call(url, "GET", "/_matrix/federation/v1/version")).server.version));
  console.log(JSON.stringify({ node: process.version, inglenook, synapse, date: new Date().toISOString().slice(0, 10) }));
}

/** A figure that only the host has. */
function reportAlone(name, unit, own) {
  console.log(JSON.stringify({ name, unit, runs: own.length, inglenook: rounded(median(own)) }));
}

/** How many times as good the first is as the second. */
function report(name, unit, own, other, aim) {
  const figures = { name, unit, runs: own.length, inglenook: rounded(median(own)), synapse: rounded(median(other)) };
  const ratio = unit.endsWith("/s") ? median(own) / median(other) : median(other) / median(own);
  console.log(JSON.stringify({ ...figures, ratio: rounded(ratio), aim }));
}

const ends = [];
const { compared: servers, elsewhere: third } = await threeServers({ after: (end) => ends.unshift(end) });
try {
  await measure();
} finally {
  hangUp();
  for (const server of [...servers, third]) await server.stop().catch(() => {});
  for (const end of ends) await end();
}

async function measure() {
  for (const server of servers) await server.start();
  await reportVersions();
  const idle = servers.map(() => []);
  const starts = await perServer(async (server, index) => {
    const millis = await restart(server);
    idle[index].push(await memory(server.pid));
    return millis;
  });
  report("start", "ms", ...starts, AIM);
  reportMemory("idle", idle);
  await third.start();
  note(`making rooms on ${third.url}`);
  const elsewhere = new Elsewhere(third, SIZES.elsewhere);
  await elsewhere.begin(2 * servers.length * ROUNDS);
  const steps = servers.map(({ url }) => new Steps(url, SIZES, elsewhere));
  for (const each of steps) {
    note(`making rooms on ${each.url}`);
    await each.begin();
  }
  for (const [name, unit, step] of MEASURED) {
    const figures = await perServer((_, index) => steps[index][step]());
    report(name, unit, ...figures, AIM);
  }
  // Once more the step that takes most, since what a process has freed comes and goes.
  const loaded = await perServer(async ({ pid }, index) => {
    await steps[index].crowdPerSecond();
    return memory(pid);
  });
  reportMemory("after the load", loaded);
  note(`making ${SIZES.events} events on ${servers[0].url}`);
  await steps[0].grow(SIZES.events);
  const grown = [];
  for (let round = 0; round < ROUNDS; round += 1) grown.push(await restart(servers[0]));
  reportAlone(`start with ${SIZES.events} events more`, "ms", grown);
}

/** How long a start takes, until the first answer. */
async function restart(server) {
  await server.stop();
  const began = performance.now();
  await server.start();
  return performance.now() - began;
}

/** The figures of each server, over all rounds. */
async function perServer(step) {
  const figures = servers.map(() => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, server] of servers.entries()) figures[index].push(await step(server, index));
  }
  return figures;
}

/** The files of a program count once however many run it, and are there for as long as the system has room. */
function reportMemory(when, figures) {
  report(`memory, ${when}`, "MB", ...figures.map((rounds) => rounds.map(({ resident }) => resident)), MEMORY_AIM);
  report(`memory, ${when}, without files`, "MB", ...figures.map((rounds) => rounds.map(({ own }) => own)), MEMORY_AIM);
}
