// Rooms that live on servers of different kinds: every scenario, for every pair of kinds, in every room version, as a table.
//
//   cargo xtask interop [--short] [--pair browser-synapse] [--version 12] [--only WORDS] [--times]
//
// Ends with 1 when anything fails, and tells why; SYNAPSE_LOG=INFO, NODE_LOG=debug and RELAY_LOG=debug
// have the servers tell what they do.

import { parseArgs } from "node:util";

import { scenarios } from "./scenarios/all.mjs";
import { Person } from "./person.mjs";
import { startTown } from "./town.mjs";

const VERSIONS = ["6", "10", "11", "12"];
const PAIRS = [["browser", "synapse"], ["node", "synapse"], ["browser", "node"]];
const NAMES = { browser: "browser", node: "Node", synapse: "Synapse" };
/** The longest says a thousand things and fetches them, on two busy cores; those of the short part take seconds. */
const SCENARIO_MILLIS = 180_000;
const SHORT_MILLIS = 60_000;

const { values: options } = parseArgs({
  options: { short: { type: "boolean" }, pair: { type: "string", multiple: true }, version: { type: "string", multiple: true }, only: { type: "string" }, times: { type: "boolean" } },
});

const ends = [];
const t = { after: (end) => ends.unshift(end) };
process.exitCode = await main().catch((error) => {
  console.error(error);
  return 1;
});
for (const end of ends) await end();
process.exit();

async function main() {
  const versions = options.version ?? (options.short ? ["12"] : VERSIONS);
  const pairs = PAIRS.filter((pair) => !options.pair || options.pair.some((name) => name === pair.join("-")));
  const chosen = scenarios.filter(({ name, long }) => (!options.short || !long) && (!options.only || name.includes(options.only)));
  const town = await startTown(t);
  const results = new Map(chosen.map(({ name }) => [name, new Map()]));
  let failures = 0;
  for (const pair of pairs) {
    for (const version of versions) {
      const people = await Promise.all(pair.map((kind, index) => Person.register(town[kind], `${["alice", "bob"][index]}-${pair.join("-")}-${version}`)));
      const thirdKind = Object.keys(town).find((kind) => !pair.includes(kind));
      const third = await Person.register(town[thirdKind], `carol-${pair.join("-")}-${version}`);
      for (const scenario of chosen) {
        const scene = `${scenario.name} (${pair.map((kind) => NAMES[kind]).join("–")}, version ${version})`;
        const outcome = await play(scenario, people, third, version, town);
        const cell = results.get(scenario.name);
        const column = pair.join();
        cell.set(column, [...(cell.get(column) ?? []), [version, outcome]]);
        if (outcome instanceof Error) {
          failures += 1;
          console.log(`✗ ${scene}: ${outcome.stack}`);
        }
      }
    }
  }
  print(results, pairs);
  const played = [...results.values()].flatMap((cell) => [...cell.values()].flat()).filter(([, outcome]) => outcome !== undefined);
  console.log(`\n${played.length - failures} passed, ${failures} failed`);
  return failures === 0 ? 0 : 1;
}

/**
 * Plays a scenario with either side in either part, or once; undefined where the room version has no such thing. A kind of
 * server that cannot do what is asked for is not given the part of `there`, or has no part at all.
 */
async function play({ name, since = "1", once, notBy, without, run }, [one, other], third, version, town) {
  const takesPart = (kind) => kind && [one, other].some(({ host }) => host === town[kind]);
  if (Number(version) < Number(since) || takesPart(without)) return undefined;
  const started = Date.now();
  const parts = (once ? [[one, other]] : [[one, other], [other, one]]).filter(([, there]) => !notBy || there.host !== town[notBy]);
  try {
    for (const [here, there] of parts) await inTime(run({ here, there, third, version, town }));
  } catch (error) {
    return error;
  }
  if (options.times) console.log(`${Date.now() - started} ms: ${name}, version ${version}`);
  return true;
}

function inTime(running) {
  const millis = options.short ? SHORT_MILLIS : SCENARIO_MILLIS;
  const late = new Promise((_, reject) => setTimeout(reject, millis, new Error(`not done after ${millis} ms`)).unref());
  return Promise.race([running, late]);
}

function print(results, pairs) {
  const rows = [["", ...pairs.map((pair) => pair.map((kind) => NAMES[kind]).join("–"))]];
  for (const [name, cell] of results) {
    rows.push([name, ...pairs.map((pair) => cell.get(pair.join()).map(([version, outcome]) => mark(version, outcome)).filter(Boolean).join(" "))]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(" | ")} |`;
  console.log(`\n${line(rows[0])}\n|${widths.map((width) => "-".repeat(width + 2)).join("|")}|\n${rows.slice(1).map(line).join("\n")}`);
}

function mark(version, outcome) {
  if (outcome === undefined) return "";
  return outcome instanceof Error ? `✗${version}` : version;
}
