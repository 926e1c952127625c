// What those who call may take: so many connections by address, and so many bytes of requests in memory for all together.

import { isIPv6 } from "node:net";

import { isPrivate } from "./addresses.mjs";

/** So many bytes of bodies are in memory at a time: those of six requests that are as large as they may be. */
const HELD_BYTES = 64 << 20;

/** What callers have taken. */
export class Callers {
  #most;
  #forwarded;
  #room;
  #connections = new Map();

  /** `connections` is how many an address may have, zero for any number; `forwarded` the header in which a proxy says whom it calls for. */
  constructor({ connections, forwarded, bytes = HELD_BYTES }) {
    this.#most = connections;
    this.#forwarded = forwarded?.toLowerCase();
    this.#room = bytes;
  }

  /** Counts a connection, unless a proxy stands in front, which connects for all. False where it is one too many. */
  connect(socket) {
    return this.#forwarded !== undefined || this.#count(network(socket.remoteAddress), socket);
  }

  /** Counts a request that comes through a proxy for as long as it is being answered. One without is counted as a connection. */
  ask(request, response) {
    return this.#forwarded === undefined || this.#count(network(this.#named(request) ?? request.socket.remoteAddress), response);
  }

  /** Bytes that one request is going to hold. */
  hold() {
    let held = 0;
    let isOver = false;
    return {
      /** False where there is no more room, or nobody wants more. */
      take: (bytes) => {
        if (isOver || bytes > this.#room) return false;
        this.#room -= bytes;
        held += bytes;
        return true;
      },
      release: () => {
        isOver = true;
        this.#room += held;
        held = 0;
      },
    };
  }

  /** Whom the proxy names last, which is what the proxy itself has seen; what came before is anybody's word. */
  #named(request) {
    return request.headers[this.#forwarded]?.split(",").at(-1).trim().replace(/^\[|\]$/g, "");
  }

  #count(who, until) {
    if (who === undefined || this.#most === 0) return true;
    const count = this.#connections.get(who) ?? 0;
    if (count >= this.#most) return false;
    this.#connections.set(who, count + 1);
    until.once("close", () => this.#leave(who));
    return true;
  }

  #leave(who) {
    const count = this.#connections.get(who) - 1;
    if (count === 0) this.#connections.delete(who);
    else this.#connections.set(who, count);
  }
}

/**
 * Who calls, as far as limits go: an address, or the network that one household has of the sixth version. Addresses that are not
 * public are nobody's in particular: a proxy's in front of the host, or the operator's own network.
 */
function network(address) {
  const plain = address?.replace(/^::ffff:(?=\d+\.)/i, "");
  if (plain === undefined || isPrivate(plain)) return undefined;
  return isIPv6(plain) ? groups(plain).slice(0, 4).map((group) => parseInt(group, 16)).join(":") : plain;
}

function groups(address) {
  const [left, right] = address.split("::").map((part) => part.split(":").filter(Boolean));
  return right === undefined ? left : [...left, ...Array(Math.max(8 - left.length - right.length, 0)).fill("0"), ...right];
}
