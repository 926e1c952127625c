// The Node host beside Synapse on the same machine in the same run, as JSON lines; each figure is a median over several rounds.
//
//   cargo xtask bench node [--quick] [--rooms N] [--users N] [--rounds N]

import { parseArgs } from "node:util";

import { hangUp } from "./node/client.mjs";
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
  const starts = await perServer(async (server) => {
    await server.stop();
    const began = performance.now();
    await server.start();
    return performance.now() - began;
  });
  report("start", "ms", ...starts, AIM);
  await reportMemory("idle");
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
    const figures = [[], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [index, each] of steps.entries()) figures[index].push(await each[step]());
    }
    report(name, unit, ...figures, AIM);
  }
  await reportMemory("after the load");
}

/** The figures of each server, over all rounds. */
async function perServer(step) {
  const figures = servers.map(() => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, server] of servers.entries()) figures[index].push(await step(server));
  }
  return figures;
}

/** The files of a program count once however many run it, and are there for as long as the system has room. */
async function reportMemory(when) {
  const figures = await Promise.all(servers.map(({ pid }) => memory(pid)));
  report(`memory, ${when}`, "MB", ...figures.map(({ resident }) => [resident]), MEMORY_AIM);
  report(`memory, ${when}, without files`, "MB", ...figures.map(({ own }) => [own]), MEMORY_AIM);
}
