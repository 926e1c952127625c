/** Why there is no node here. */
export type UnavailableReason = "insecure-context" | "no-service-worker" | "no-indexeddb" | "blocked";

/** The node cannot run here. `message` can be shown to people. */
export class NodeUnavailableError extends Error {
  readonly reason: UnavailableReason;
}

/** The node could not be started, though all it needs is there. `message` can be shown to people. */
export class NodeFailedError extends Error {}

export type NodeState = "starting" | "running" | "restarting" | "failed";

export interface StorageState {
  /** Whether the browser has promised not to throw the data away. */
  persisted: boolean;
  /** Bytes used by this origin, where the browser tells. */
  usage: number | undefined;
  /** Bytes that this origin may use, where the browser tells. */
  quota: number | undefined;
  /** Whether this was looked at because a request was answered with 507: nothing more can be stored until some room is made. */
  full: boolean;
}

export interface Naming {
  /** Whether there is a server already: a name is for ever. */
  settled: boolean;
  /** The domain of a gateway that one of the relays offers to a new server. */
  gateway?: string;
}

export interface InstallOptions {
  /**
   * Where `inglenook-sw.js` is. Its query holds the settings: `database`, `serverName`, `gateway` (a domain below which
   * a new node is named after its key, so that ordinary homeservers find it there), `burst` and `perSecond` (rate limits),
   * `relay` (may be repeated) for the relays that a node uses until its owner chooses others, `notary` (two at least, or none) for
   * servers that are asked for the keys of others that are away, and `baseUrl` (may be repeated) for other base URLs under which
   * the node is to answer.
   */
  serviceWorker: string | URL;
  /** The worker's scope; the folder of the script by default. */
  scope?: string | URL;
  /** What the page needs to open without network, beside what it has loaded already. */
  shell?: (string | URL)[];
}

export interface NamingOptions {
  /** The domain of a gateway, below which a new server is named; null for none, whatever the settings say. */
  gateway?: string | null;
}

export interface StartOptions extends InstallOptions, NamingOptions {}

/**
 * A node that this page talks to. Fires `statechange`, and `storage` whenever `stored` was looked at anew: when the node has started,
 * when persistence was asked for, when something could not be stored, and whenever the page asks.
 */
export interface InglenookNode extends EventTarget {
  /** Where clients find the server. */
  readonly baseUrl: string;
  /** The server's name, as in user ids; undefined until it was started. */
  readonly serverName: string;
  readonly state: NodeState;
  /** Why it failed. */
  readonly reason: string | undefined;
  /** Whether the server's name is settled, and what a new one may choose. Starts nothing; asks the relays for 2 s at most. */
  naming(): Promise<Naming>;
  /** Starts the node that was only installed, or finds it running, and resolves when it answers. */
  start(options?: NamingOptions): Promise<void>;
  /** What was seen of the storage last; undefined until it was looked at. */
  readonly stored: StorageState | undefined;
  /** How much is stored, how much may be, and whether the browser may throw it away. */
  storage(): Promise<StorageState>;
  /** Asks the browser never to throw the data away. */
  requestPersistence(): Promise<boolean>;
  /** Stops the node, until the next request for it, and stops keeping it alive from this page. */
  stop(): Promise<void>;
}

/** Starts the node, or finds it running, and resolves when it answers. */
export function startNode(options: StartOptions): Promise<InglenookNode>;

/** The first half of that: for whoever wants to ask first how a new server is to be named. */
export function installNode(options: InstallOptions): Promise<InglenookNode>;
