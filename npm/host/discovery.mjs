// Where a server is found by its name: addresses, ports, .well-known and SRV records, in the specified order.
//
// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names

import { Resolver } from "node:dns/promises";
import https from "node:https";
import { isIP } from "node:net";

import { hostOf, lookupFor } from "./addresses.mjs";

const DEFAULT_PORT = 8448;

/** How long a `.well-known` or an SRV record is waited for. */
const PATIENCE_MS = 10_000;
/** How many times a `.well-known` may lead elsewhere, and how large it may be. */
const MAX_REDIRECTS = 5;
const MAX_BYTES = 50 << 10;

/** How long what was found is kept: a day where the server does not say, two days at most, and an hour where there is nothing. */
const HOUR = 60 * 60 * 1000;
const USUAL_LIFE = 24 * HOUR;
const LONGEST_LIFE = 48 * HOUR;
const LIFE_OF_NOTHING = HOUR;
/**
 * What one failed look-up does not prove for long: the network here may be the reason, or a web server that is just being changed.
 * Each further failure in a row counts for twice as long, up to an hour. What was found before holds meanwhile, for two days.
 */
const LIFE_OF_SILENCE = 60_000;
const LIFE_OF_BAD_ANSWER = 2 * 60_000;

/** What says that there is nothing, rather than that something is wrong. */
const NOTHING = new Set([404, 410]);

/** Records are kept for a few minutes: a look-up tells nothing of how long they hold, and each request would make two. */
const LIFE_OF_RECORDS = 5 * 60_000;

/** So many names are remembered. */
const KEPT = 10_000;

/** So many of the places that records name are tried: each may take as long as a connection may. */
const MAX_PLACES = 8;

/** Finds servers, and remembers what their `.well-known` said. */
export class Discovery {
  #ca;
  #isAllowed;
  #resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
  #fetch;
  #srv;
  #wellKnown = new Map();
  #records = new Map();
  #now;

  /** `fetch` and `srv` stand for the network, and `now` for the clock, in tests. */
  constructor({ ca, isAllowed, fetch, srv, now = Date.now }) {
    this.#ca = ca;
    this.#isAllowed = isAllowed;
    this.#fetch = fetch ?? ((url) => this.#get(url));
    this.#srv = srv ?? ((name) => this.#resolver.resolveSrv(name));
    this.#now = now;
  }

  /** Where to connect to for a server's name, the best place first: `{ host, port, header, certificate }`. */
  async places(name) {
    const asked = parse(name);
    if (!asked) throw new Error(`${name} is no server name`);
    if (isIP(asked.host) || asked.port) return [direct(asked, name)];
    const delegate = await this.#delegate(asked.host);
    if (!delegate) return this.#byRecords(asked.host);
    const delegated = parse(delegate);
    if (isIP(delegated.host) || delegated.port) return [direct(delegated, delegate)];
    return this.#byRecords(delegated.host);
  }

  close() {
    this.#resolver.cancel();
  }

  /** SRV records, of the name in use and of the deprecated one, or else the host itself at the usual port. */
  async #byRecords(host) {
    const kept = this.#records.get(host);
    if (kept && kept.until > this.#now()) return inPlaces(host, await kept.records);
    if (this.#records.size >= KEPT) this.#records.clear();
    const records = this.#lookUp(host);
    this.#records.set(host, { records, until: this.#now() + LIFE_OF_RECORDS });
    return inPlaces(host, await records);
  }

  async #lookUp(host) {
    for (const service of ["_matrix-fed._tcp", "_matrix._tcp"]) {
      const records = await this.#srv(`${service}.${host}`).catch(() => []);
      // A target without a name means that there is no such service.
      const named = records.filter(({ name }) => name !== "" && name !== ".");
      if (named.length > 0) return named;
    }
    return [];
  }

  /** What a host's `.well-known` names as its delegate, if it does. Questions that come at once are one. */
  async #delegate(host) {
    const kept = this.#wellKnown.get(host);
    if (kept && (!kept.until || kept.until > this.#now())) return kept.delegate;
    if (this.#wellKnown.size >= KEPT) this.#wellKnown.clear();
    const asking = {};
    asking.delegate = this.#ask(host, asking, kept);
    this.#wellKnown.set(host, asking);
    return asking.delegate;
  }

  /** Asks, and notes until when that counts. `before` is what counted until now. */
  async #ask(host, asking, before) {
    const last = before?.last;
    try {
      const { status, headers, body } = await this.#fetch(`https://${host}/.well-known/matrix/server`);
      if (NOTHING.has(status)) {
        asking.until = this.#now() + (last ? LIFE_OF_BAD_ANSWER : LIFE_OF_NOTHING);
        return undefined;
      }
      const delegate = status === 200 ? JSON.parse(body)?.["m.server"] : undefined;
      if (typeof delegate !== "string" || !parse(delegate)) throw new Error("it names no server");
      asking.until = this.#now() + life(headers);
      asking.last = { delegate, until: this.#now() + LONGEST_LIFE };
      return delegate;
    } catch (error) {
      const failures = before?.failures ?? 0;
      const life = (error.code ? LIFE_OF_SILENCE : LIFE_OF_BAD_ANSWER) * 2 ** failures;
      Object.assign(asking, { failures: failures + 1, last, until: this.#now() + Math.min(life, LIFE_OF_NOTHING) });
      return last?.until > this.#now() ? last.delegate : undefined;
    }
  }

  async #get(url, redirects = 0) {
    const response = await this.#open(new URL(url));
    const { statusCode: status, headers } = response;
    if (status >= 300 && status < 400 && headers.location) {
      response.destroy();
      const next = new URL(headers.location, url);
      if (redirects === MAX_REDIRECTS || next.protocol !== "https:") throw new Error("it leads elsewhere for ever");
      return this.#get(next, redirects + 1);
    }
    let body = "";
    response.setEncoding("utf8");
    for await (const piece of response) {
      body += piece;
      if (body.length > MAX_BYTES) throw new Error("it is too large");
    }
    return { status, headers, body };
  }

  async #open(url) {
    const lookup = lookupFor(hostOf(url), this.#isAllowed);
    return new Promise((resolve, reject) => {
      const request = https.get(url, { ca: this.#ca, lookup, signal: AbortSignal.timeout(PATIENCE_MS), agent: false });
      request.on("response", resolve);
      request.on("error", reject);
    });
  }
}

/** A server's name taken apart, or undefined. */
function parse(name) {
  const found = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9A-Za-z.-]{1,255}))(?::(\d{1,5}))?$/.exec(name);
  if (!found || (found[1] && !isIP(found[1]))) return undefined;
  return { host: found[1] ?? found[2], port: found[3] === undefined ? undefined : Number(found[3]) };
}

function direct({ host, port }, header) {
  return { host, port: port ?? DEFAULT_PORT, header, certificate: host };
}

function inPlaces(host, records) {
  if (records.length === 0) return [{ host, port: DEFAULT_PORT, header: host, certificate: host }];
  return inOrder(records).slice(0, MAX_PLACES).map(({ name, port }) => ({ host: name, port, header: host, certificate: host }));
}

/** The lowest priority first; within one, chance by weight. */
function inOrder(records) {
  const chance = new Map(records.map((record) => [record, Math.random() ** (1 / Math.max(record.weight, 0.1))]));
  return [...records].sort((a, b) => a.priority - b.priority || chance.get(b) - chance.get(a));
}

/** How long an answer may be kept. */
function life(headers) {
  const control = headers["cache-control"] ?? "";
  if (/no-store|no-cache/.test(control)) return LIFE_OF_SILENCE;
  const seconds = /max-age=(\d+)/.exec(control)?.[1];
  const expires = headers.expires ? Date.parse(headers.expires) - Date.now() : NaN;
  const told = seconds !== undefined ? Number(seconds) * 1000 : Number.isNaN(expires) ? USUAL_LIFE : expires;
  return Math.min(Math.max(told, LIFE_OF_SILENCE), LONGEST_LIFE);
}
