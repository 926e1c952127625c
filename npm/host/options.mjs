// What `inglenook serve` is told: by its arguments, by the environment, and by a file; in that order the first counts.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

/** Options that are wrong; the message says which and why. */
export class WrongOptions extends Error {}

const DATA = "inglenook-data";

/** Connections of one address: those of dozens of people behind one router, each with a client that polls. */
const ADDRESS_CONNECTIONS = 200;

/** Each option: how one value or each of a list is read, what stands for its value in the help, and what it is for. */
export const OPTIONS = {
  "server-name": { value: "NAME", help: ["the server's name, as in @user:NAME; made of its key when left out.", "Chosen once: a data folder belongs to one name"] },
  listen: { value: "HOST:PORT", list: address, help: ["serve HTTP there [127.0.0.1:8008]"] },
  "listen-tls": { value: "HOST:PORT", list: address, help: ["serve HTTPS there; other servers come to port 8448", "unless they are told otherwise"] },
  "tls-cert": { value: "FILE", help: ["the certificate and its chain (PEM)"] },
  "tls-key": { value: "FILE", help: ["its private key (PEM); both are read again on SIGHUP"] },
  data: { value: "DIR", help: [`where everything is kept, or :memory: [${DATA}]`] },
  registration: { value: "WHO", one: choice("open", "token", "closed"), help: ["who may make an account: open, token or closed [closed]"] },
  "registration-token": { value: "TOKEN", help: ["what one must know with --registration token"] },
  "rate-limits": { value: "on|off", one: choice("on", "off"), help: ["slow down who asks too often [on]"] },
  "address-connections": {
    value: "NUMBER",
    one: number,
    help: ["how many connections a public address may have at a time;", `0 for any number [${ADDRESS_CONNECTIONS}]`],
  },
  "forwarded-header": { value: "NAME", one: headerName, help: ["the header in which the proxy in front says whom it calls for, which", "is counted instead of the proxy, as X-Forwarded-For [none]"] },
  "base-url": { value: "URL", one: httpUrl, help: ["where clients reach this server, if not where they ask"] },
  relay: { value: "URL", list: httpUrl, help: ["attach to this relay; for servers that nobody can connect to"] },
  gateway: { value: "DOMAIN", help: ["with --relay, and no name of its own: be named below the domain of", "a relay that is a gateway, where ordinary servers find it.", "Chosen once, like the name"] },
  notary: { value: "NAME", list: serverName, help: ["ask this server for the keys of servers that are away; a key is", "believed where two notaries say the same, so name two at least [none]"] },
  "federation-resolve": { value: "NAME=HOST:PORT", list: resolution, help: ["connect there for the server NAME, without looking it up"] },
  "private-addresses": {
    value: "on|off",
    one: choice("on", "off"),
    help: ["connect to servers whose names lead into private networks [off]"],
  },
  ca: { value: "FILE", help: ["trust this authority's certificates as well (PEM)"] },
  inspection: { value: "on|off", one: choice("on", "off"), help: ["let every user look into the server: its log, requests and", "relays; for development [off]"] },
  config: { value: "FILE", help: ["read options from this JSON file, under the same names"] },
  log: { value: "LEVEL", one: choice("error", "warn", "info", "debug"), help: ["say on stderr: error, warn, info or debug [info]"] },
};

const HELP_COLUMN = 36;

/** The help, made of the table. */
export function usage() {
  const lines = Object.entries(OPTIONS).flatMap(([name, { value, list, help }]) => {
    const left = `  --${name} ${value}${list ? " ..." : ""}`;
    const [first, ...rest] = help;
    const fits = left.length < HELP_COLUMN;
    return [...(fits ? [left.padEnd(HELP_COLUMN) + first] : [left, " ".repeat(HELP_COLUMN) + first]), ...rest.map((line) => " ".repeat(HELP_COLUMN) + line)];
  });
  return `A Matrix homeserver.

Usage: inglenook serve [OPTION...]
       inglenook --help | --version

${lines.join("\n")}

Options with ... may be given several times. Each can come from the environment instead (INGLENOOK_SERVER_NAME, INGLENOOK_LISTEN
with commas between several), or from the file: { "server-name": "example.org", "listen": ["127.0.0.1:8008"] }.

When it serves it prints one line on stdout, "inglenook: ready: NAME at URL ...". SIGTERM and SIGINT stop it.
It ends with 0 when it was told to, 1 when it cannot start or go on, 2 when the options are wrong, 70 after a fault of its own.

Try it, with nothing kept:      inglenook serve --data :memory: --registration open
A server for other servers:     inglenook serve --server-name example.org --data /var/lib/inglenook \\
                                  --listen-tls 0.0.0.0:8448 --tls-cert fullchain.pem --tls-key privkey.pem
`;
}

/** Reads a command line: `{ command: "serve", options }`, or `help` or `version`. */
export function readCommand(argv, environment) {
  const { values, positionals } = parsed(argv);
  if (values.help) return { command: "help" };
  if (values.version) return { command: "version" };
  if (positionals.length === 0) throw new WrongOptions("no command was given");
  if (positionals[0] !== "serve") throw new WrongOptions(`there is no command ${JSON.stringify(positionals[0])}`);
  if (positionals.length > 1) throw new WrongOptions(`${JSON.stringify(positionals[1])} is too much`);
  return { command: "serve", options: complete(layered(values, environment)) };
}

function parsed(argv) {
  const options = { help: { type: "boolean", short: "h" }, version: { type: "boolean", short: "V" } };
  for (const [name, { list }] of Object.entries(OPTIONS)) options[name] = { type: "string", multiple: Boolean(list) };
  try {
    return parseArgs({ args: argv, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new WrongOptions(error.message);
  }
}

/** The value of each option, from the first place that has one. */
function layered(values, environment) {
  const file = values.config ?? environment.INGLENOOK_CONFIG;
  const places = [values, fromEnvironment(environment), file === undefined ? {} : readConfig(file)];
  const place = (name) => places.findIndex((values) => values[name] !== undefined);
  // Who says by whom accounts are made, and who says by which token, may be two: what was said nearer counts.
  const [isTold, ofToken] = [place("registration"), place("registration-token")];
  if (isTold >= 0 && ofToken > isTold && places[isTold].registration !== "token") for (const values of places) delete values["registration-token"];
  if (ofToken >= 0 && isTold > ofToken) for (const values of places) delete values.registration;
  const raw = {};
  for (const [name, option] of Object.entries(OPTIONS)) {
    const value = places[place(name)]?.[name];
    if (value !== undefined) raw[name] = read(name, option, value);
  }
  return raw;
}

function fromEnvironment(environment) {
  const values = {};
  for (const [name, { list }] of Object.entries(OPTIONS)) {
    const variable = environment[`INGLENOOK_${name.toUpperCase().replaceAll("-", "_")}`];
    if (variable) values[name] = list ? variable.split(",").map((item) => item.trim()) : variable;
  }
  return values;
}

function readConfig(path) {
  let config;
  try {
    config = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new WrongOptions(`the file ${path} cannot be read: ${error.message}`);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) throw new WrongOptions(`the file ${path} holds no JSON object`);
  const unknown = Object.keys(config).find((name) => !(name in OPTIONS) || name === "config");
  if (unknown !== undefined) throw new WrongOptions(`the file ${path} has ${JSON.stringify(unknown)}, which is no option`);
  return config;
}

function read(name, { list, one }, value) {
  if (list) return several(name, value).map((item) => list(name, text(name, item)));
  const given = text(name, value);
  return one ? one(name, given) : given;
}

function several(name, value) {
  const values = Array.isArray(value) ? value : [value];
  if (values.length === 0) throw new WrongOptions(`--${name} needs at least one value`);
  return values;
}

function text(name, value) {
  if (typeof value === "number") return String(value);
  if (typeof value !== "string" || value === "") throw new WrongOptions(`--${name} needs a value that is not empty`);
  return value;
}

/** One of some words. */
function choice(...words) {
  return (name, given) => {
    if (words.includes(given)) return given;
    throw new WrongOptions(`--${name} must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}, not ${JSON.stringify(given)}`);
  };
}

function number(name, given) {
  if (!/^\d{1,9}$/.test(given)) throw new WrongOptions(`--${name} must be a whole number, not ${JSON.stringify(given)}`);
  return Number(given);
}

function headerName(name, given) {
  if (!/^[0-9A-Za-z-]+$/.test(given)) throw new WrongOptions(`--${name} must be a header's name, not ${JSON.stringify(given)}`);
  return given;
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
function address(name, given) {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(given.trim());
  const port = Number(found?.[3]);
  if (!found || port > 65_535) throw new WrongOptions(`--${name} must be HOST:PORT, not ${JSON.stringify(given)}`);
  return { host: found[1] ?? found[2], port };
}

function httpUrl(name, given) {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!/^https?:$/.test(url?.protocol)) throw new WrongOptions(`--${name} must be an http or https URL, not ${JSON.stringify(given)}`);
  return given;
}

/** By its characters only; the server reads it strictly when it starts. */
function serverName(name, given) {
  if (!/^[0-9A-Za-z.:[\]-]+$/.test(given)) throw new WrongOptions(`--${name} must be a server's name, not ${JSON.stringify(given)}`);
  return given;
}

function resolution(name, given) {
  const at = given.indexOf("=");
  if (at < 1) throw new WrongOptions(`--${name} must be NAME=HOST:PORT, not ${JSON.stringify(given)}`);
  return { name: given.slice(0, at).toLowerCase(), ...address(name, given.slice(at + 1)) };
}

/** What the server works with: every option with its default, and none that contradicts another. */
function complete(raw) {
  const listenTls = raw["listen-tls"] ?? [];
  if (new Set([listenTls.length > 0, "tls-cert" in raw, "tls-key" in raw]).size > 1) throw new WrongOptions("--listen-tls, --tls-cert and --tls-key go together");
  const registration = raw.registration ?? (raw["registration-token"] ? "token" : "closed");
  if ((registration === "token") !== Boolean(raw["registration-token"])) throw new WrongOptions("--registration token and --registration-token TOKEN go together");
  if (raw.gateway && raw["server-name"]) throw new WrongOptions("--gateway makes a name of the server's key, and --server-name gives it another: choose one");
  if (new Set(raw.notary).size === 1) throw new WrongOptions("one --notary is no use: a key is believed where two of them say the same");
  if (raw.gateway && !raw.relay) throw new WrongOptions("--gateway needs the --relay that is the gateway");
  return {
    serverName: raw["server-name"],
    gateway: raw.gateway,
    listen: raw.listen ?? (listenTls.length > 0 ? [] : [{ host: "127.0.0.1", port: 8008 }]),
    listenTls,
    tlsCert: raw["tls-cert"],
    tlsKey: raw["tls-key"],
    data: raw.data ?? DATA,
    registration,
    registrationToken: raw["registration-token"],
    rateLimits: raw["rate-limits"] !== "off",
    callers: { connections: raw["address-connections"] ?? ADDRESS_CONNECTIONS, forwarded: raw["forwarded-header"] },
    baseUrl: raw["base-url"],
    relays: raw.relay ?? [],
    notaries: [...new Set(raw.notary)],
    resolve: new Map((raw["federation-resolve"] ?? []).map(({ name, host, port }) => [name, { host, port }])),
    privateAddresses: raw["private-addresses"] === "on",
    ca: raw.ca,
    inspection: raw.inspection === "on",
    log: raw.log ?? "info",
  };
}
