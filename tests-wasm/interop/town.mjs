// Three homeservers of three kinds that find each other by names under .test: a Synapse, a Node host, and a node in a browser
// behind a relay that is its gateway. One authority, made for the occasion, has certified them all.

import { readFile } from "node:fs/promises";

import { startHost, folder } from "../node/support.mjs";
import { makeAuthority } from "../node/authority.mjs";
import { freePort } from "../port.mjs";
import { Relay } from "../browser/relay.mjs";
import { BrowserHost } from "./browser_host.mjs";
import { Synapse } from "./synapse.mjs";

const [SYNAPSE, NODE, GATEWAY] = ["synapse.test", "node.test", "gw.test"];

/** A Node host that is found again under its name, and by clients under its URL, when it is started anew. */
class NodeHost {
  constructor(t, args) {
    Object.assign(this, { t, args });
  }

  async start() {
    this.running = await startHost(this.t, this.args);
    Object.assign(this, { name: this.running.name, url: this.running.url });
  }

  stop(signal) {
    return this.running.stop(signal);
  }

  call(...request) {
    return this.running.call(...request);
  }

  /** A request as anybody on the network makes it. */
  reach(...request) {
    return this.call(...request);
  }
}

/** Starts those of the three kinds that are asked for, as `{ browser, node, synapse }`; `t.after` is told how to end them. */
export async function startTown(t, kinds = ["browser", "node", "synapse"]) {
  const town = {};
  const authority = await makeAuthority(t);
  const [synapsePort, nodePort, gatewayPort] = [await freePort(), await freePort(), await freePort()];
  const resolve = [[SYNAPSE, synapsePort], [NODE, nodePort]].flatMap(([name, port]) => ["--federation-resolve", `${name}=127.0.0.1:${port}`]);
  const trust = ["--ca", authority.ca];

  const startBrowser = async () => {
    const { cert, key } = await authority.certify(`*.${GATEWAY}`, "localhost");
    const url = `https://localhost:${gatewayPort}`;
    const tls = ["--tls-cert", cert, "--tls-key", key, "--public-url", url];
    const relay = new Relay({ listen: `127.0.0.1:${gatewayPort}`, settings: ["--gateway-domain", GATEWAY, ...tls, ...trust, ...resolve] });
    await relay.start();
    t.after(() => relay.remove());
    const host = new BrowserHost({ relay: url, gateway: GATEWAY, port: gatewayPort, ca: await readFile(authority.ca) });
    await host.start();
    t.after(() => host.remove());
    return Object.assign(host, { relay });
  };

  const startNode = async () => {
    const { cert, key } = await authority.certify(NODE);
    const tls = ["--listen-tls", `127.0.0.1:${nodePort}`, "--tls-cert", cert, "--tls-key", key];
    const gateway = town.browser ? ["--federation-resolve", `${town.browser.name}=127.0.0.1:${gatewayPort}`] : [];
    const listen = ["--listen", `127.0.0.1:${await freePort()}`, "--log", process.env.NODE_LOG ?? "info"];
    const host = new NodeHost(t, ["--server-name", NODE, "--data", await folder(t), ...listen, ...tls, ...trust, ...resolve, ...gateway]);
    await host.start();
    if (process.env.NODE_LOG) t.after(() => console.log(host.running.stderr()));
    return host;
  };

  const startSynapse = async () => {
    const dir = await folder(t);
    const ports = { client: await freePort(), federation: synapsePort };
    const places = { [NODE]: nodePort, [GATEWAY]: gatewayPort };
    const host = new Synapse({ name: SYNAPSE, dir, ports, tls: await authority.certify(SYNAPSE), ca: authority.ca, places });
    await host.start();
    t.after(() => host.stop("SIGKILL"));
    if (process.env.SYNAPSE_LOG) t.after(async () => console.log(await host.log()));
    return host;
  };

  // The browser's name is made of its key, and so must be there before anybody is told where it is.
  const starts = { browser: startBrowser, node: startNode, synapse: startSynapse };
  for (const [kind, start] of Object.entries(starts)) if (kinds.includes(kind)) town[kind] = await start();
  return town;
}
