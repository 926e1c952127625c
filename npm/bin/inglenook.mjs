#!/usr/bin/env node
// The command: reads what it is told, starts a host, and stops it on a signal.

import { readFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";

import { WrongOptions, readCommand, usage } from "../host/options.mjs";

const EXIT = { failed: 1, wrongOptions: 2, fault: 70 };

/** New objects are looked through each time that a megabyte of them has come. Left alone, V8 takes 30 MB for them under load, and keeps it. */
setFlagsFromString("--semi-space-growth-factor=1");

function fail(code, message) {
  process.stderr.write(`inglenook: ${message}\n`);
  process.exit(code);
}

async function main() {
  const { command, options } = read();
  if (command === "help") return process.stdout.write(usage());
  if (command === "version") return process.stdout.write(`${await version()}\n`);
  const { serve } = await import("../host/serve.mjs");
  const host = await serve(options);
  watch(host);
  process.stdout.write(`inglenook: ready: ${host.name} at ${host.urls.join(" ")}\n`);
}

function read() {
  try {
    return readCommand(process.argv.slice(2), process.env);
  } catch (error) {
    if (!(error instanceof WrongOptions)) throw error;
    return fail(EXIT.wrongOptions, `${error.message}\nSee inglenook --help.`);
  }
}

async function version() {
  return JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")).version;
}

/** Stops on the first signal, at once on the second. */
function watch(host) {
  let stopping = false;
  const stop = async (signal) => {
    if (stopping) process.exit(EXIT.failed);
    stopping = true;
    host.log.info(`stopping on ${signal}`);
    await host.stop();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, stop);
  process.on("SIGHUP", () => host.renew());
}

/** A panic in the wasm ends it for good: whoever supervises this process starts it anew, and everything acknowledged is there. */
function fault(error) {
  fail(EXIT.fault, `a fault: ${error?.stack ?? error}`);
}

// Whoever reads what is said may go away: that ends nothing.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
process.on("uncaughtException", fault);
process.on("unhandledRejection", fault);
main().catch((error) => fail(EXIT.failed, error.message));
