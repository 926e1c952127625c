// Which addresses other servers may have: a stranger's name must not lead a request into the operator's own network.

import dns from "node:dns";
import { BlockList, isIP, isIPv4 } from "node:net";

/** What the IANA registries of special-purpose addresses do not call globally reachable. */
const PRIVATE_V4 = [
  ["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.0.0.0", 24],
  ["192.0.2.0", 24], ["192.88.99.0", 24], ["192.168.0.0", 16], ["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24],
  ["224.0.0.0", 4], ["240.0.0.0", 4],
];
/** Addresses that wrap an IPv4 address are among them: nobody needs them to be reached. */
const PRIVATE_V6 = [
  ["::", 96], ["::ffff:0:0", 96], ["64:ff9b::", 96], ["64:ff9b:1::", 48], ["100::", 64], ["2001::", 23], ["2001:db8::", 32], ["2002::", 16],
  ["fc00::", 7], ["fe80::", 10], ["fec0::", 10], ["ff00::", 8],
];

/** Two lists: in one, the networks of wrapped addresses would hold all that are not wrapped as well. */
const [privateV4, privateV6] = [new BlockList(), new BlockList()];
for (const [network, bits] of PRIVATE_V4) privateV4.addSubnet(network, bits, "ipv4");
for (const [network, bits] of PRIVATE_V6) privateV6.addSubnet(network, bits, "ipv6");

/** Whether an address is no public one. What is no address at all is not public either. */
export function isPrivate(address) {
  if (!isIP(address)) return true;
  return isIPv4(address) ? privateV4.check(address, "ipv4") : privateV6.check(address, "ipv6");
}

/**
 * How to connect to a host whose name came from a stranger: the look-up for the socket, which finds allowed addresses only, so that
 * what was checked is what is connected to. Throws for an address that is not allowed.
 */
export function lookupFor(host, isAllowed) {
  if (isIP(host) && !isAllowed(host)) throw notAllowed(`${host} is a private address`);
  return (name, options, callback) => {
    dns.lookup(name, { ...options, all: true }, (error, found) => {
      if (error) return callback(error);
      const allowed = found.filter(({ address }) => isAllowed(address));
      if (allowed.length === 0) return callback(notAllowed(`${name} has private addresses only`));
      if (options.all) return callback(null, allowed);
      callback(null, allowed[0].address, allowed[0].family);
    });
  };
}

function notAllowed(message) {
  return Object.assign(new Error(message), { code: "PRIVATE_ADDRESS" });
}

/** The host of a URL as sockets take it. */
export function hostOf(url) {
  return url.hostname.replace(/^\[|\]$/g, "");
}
