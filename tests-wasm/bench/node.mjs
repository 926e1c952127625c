// The Node host beside Synapse on the same machine in the same run, as JSON lines; each figure is a median over several rounds.
//
//   cargo xtask bench node [--quick] [--rooms N] [--users N] [--rounds N]

import { parseArgs } from "node:util";

import { hangUp } from "./node/client.mjs";
import { Inglenook, residentMegabytes, synapse, workspace } from "./node/servers.mjs";
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
];

const note = (text) => process.stderr.write(`${text}\n`);
const rounded = (value) => Math.round(value * 100) / 100;

/** How many times as good the first is as the second. */
function report(name, unit, own, other, aim) {
  const figures = { name, unit, runs: own.length, inglenook: rounded(median(own)), synapse: rounded(median(other)) };
  const ratio = unit.endsWith("/s") ? median(own) / median(other) : median(other) / median(own);
  console.log(JSON.stringify({ ...figures, ratio: rounded(ratio), aim }));
}

const place = await workspace();
const servers = [new Inglenook(place.dir), await synapse(place.dir)];
try {
  await measure();
} finally {
  hangUp();
  for (const server of servers) await server.stop().catch(() => {});
  await place.remove();
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
  report("memory, idle", "MB", ...(await memory()), MEMORY_AIM);
  const steps = servers.map(({ url }) => new Steps(url, SIZES));
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
  report("memory, after the load", "MB", ...(await memory()), MEMORY_AIM);
}

/** The figures of each server, over all rounds. */
async function perServer(step) {
  const figures = servers.map(() => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, server] of servers.entries()) figures[index].push(await step(server));
  }
  return figures;
}

async function memory() {
  const figures = [];
  for (const { pid } of servers) figures.push([await residentMegabytes(pid)]);
  return figures;
}
