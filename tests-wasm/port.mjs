// Ports of servers that must be known before they start, or found again after a restart.
import { createServer } from "node:net";

/**
 * Below what Linux (32768 to 60999) and macOS (49152 and up) give to outgoing connections: a port of theirs may be taken
 * by any connection between the moment that it was seen free and the moment that somebody listens there.
 */
const [FIRST, END] = [20_000, 32_000];

let next = FIRST + Math.floor(Math.random() * (END - FIRST));

/** A port that nobody listens on; one process is never given the same again before all others. */
export async function freePort() {
  for (let tries = END - FIRST; tries > 0; tries -= 1) {
    const port = next;
    next = port + 1 < END ? port + 1 : FIRST;
    if (await isFree(port)) return port;
  }
  throw new Error(`no port from ${FIRST} to ${END} is free`);
}

async function isFree(port) {
  const server = createServer();
  const listens = await new Promise((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
  if (listens) await new Promise((resolve) => server.close(resolve));
  return listens;
}
