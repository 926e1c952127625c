// Which addresses other servers may have: a stranger's name must not lead a request into the operator's own network.

import { Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { BlockList, isIP, isIPv4 } from "node:net";

/** What is not the public network: https://www.iana.org/assignments/iana-ipv4-special-registry/ */
const SPECIAL_V4 = [
  ["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.0.0.0", 24],
  ["192.0.2.0", 24], ["192.88.99.0", 24], ["192.168.0.0", 16], ["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24],
  ["224.0.0.0", 4], ["240.0.0.0", 4],
];
/** Of the sixth version only this much is given out … */
const GIVEN_OUT_V6 = [["2000::", 3]];
/**
 * … less what leads to IPv4 or nowhere: Teredo and other protocols, 6to4, and what is for documentation.
 *
 * https://www.iana.org/assignments/iana-ipv6-special-registry/
 */
const SPECIAL_V6 = [["2001::", 23], ["2001:db8::", 32], ["2002::", 16], ["3fff::", 20]];

const [specialV4, givenOutV6, specialV6] = [networks(SPECIAL_V4, "ipv4"), networks(GIVEN_OUT_V6, "ipv6"), networks(SPECIAL_V6, "ipv6")];

function networks(list, family) {
  const networks = new BlockList();
  for (const [network, bits] of list) networks.addSubnet(network, bits, family);
  return networks;
}

/** Whether an address is no public one. What is no address at all is not public either. */
export function isPrivate(address) {
  if (!isIP(address)) return true;
  if (isIPv4(address)) return specialV4.check(address, "ipv4");
  return !givenOutV6.check(address, "ipv6") || specialV6.check(address, "ipv6");
}

/**
 * Queries to the machine's name servers, which take no thread. What the system offers for it takes one of a few for as long as a
 * name server is silent, which may be a stranger's; the database needs them as well.
 */
const LOOK_UP = { timeout: 2_000, tries: 2 };

/** What everybody calls themselves, whatever the file of hosts says. */
const LOCALHOST = [["localhost", ["127.0.0.1", "::1"]]];

/**
 * How to connect to a host whose name came from a stranger: the look-up for the socket, which finds allowed addresses only, so that
 * what was checked is what is connected to. Throws for an address that is not allowed. `resolver` stands for the name servers in tests.
 */
export function lookupFor(host, isAllowed, resolver) {
  if (isIP(host) && !isAllowed(host)) throw notAllowed(`${host} is a private address`);
  return (name, options, callback) => {
    const found = addressesOf(name, resolver).then((addresses) => {
      const allowed = addresses.filter(isAllowed).map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }));
      if (allowed.length === 0) throw notAllowed(`${name} has private addresses only`);
      return allowed;
    });
    const told = (found) => (options.all ? callback(null, found) : callback(null, found[0].address, found[0].family));
    found.then(told, callback);
  };
}

/** The addresses of a name: the machine's file of hosts counts before the name servers. */
async function addressesOf(name, resolver = new Resolver(LOOK_UP)) {
  const known = (await hosts()).get(name.toLowerCase());
  if (known) return known;
  const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const addresses = found.flatMap(({ value }) => value ?? []);
  if (addresses.length > 0) return addresses;
  throw Object.assign(new Error(`${name} has no address: ${found[0].reason?.code}`), { code: "NO_ADDRESS" });
}

async function hosts() {
  const path = process.platform === "win32" ? `${process.env.SystemRoot}\\System32\\drivers\\etc\\hosts` : "/etc/hosts";
  const known = new Map(LOCALHOST);
  const text = await readFile(path, "utf8").catch(() => "");
  for (const line of text.split("\n")) {
    const [address, ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (!isIP(address)) continue;
    for (const name of names) known.set(name.toLowerCase(), [...new Set([...(known.get(name.toLowerCase()) ?? []), address])]);
  }
  return known;
}

function notAllowed(message) {
  return Object.assign(new Error(message), { code: "PRIVATE_ADDRESS" });
}

/** The host of a URL as sockets take it. */
export function hostOf(url) {
  return url.hostname.replace(/^\[|\]$/g, "");
}
