// Synapse as a process of this machine, with SQLite, as its own documentation sets it up; `cargo xtask interop` installs it.

import { spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { call } from "../node/support.mjs";

const LAUNCHER = fileURLToPath(new URL("launch_synapse.py", import.meta.url));
const START_MILLIS = 60_000;
const UNLIMITED = { per_second: 1e6, burst_count: 1e6 };

/** Synapse's settings: https://element-hq.github.io/synapse/v1.163/usage/configuration/config_documentation.html */
function settings({ name, dir, ports, tls, ca }) {
  const listener = (port, resources, tls) => ({ port, tls, type: "http", bind_addresses: ["127.0.0.1"], resources: [{ names: resources }] });
  return {
    server_name: name,
    pid_file: join(dir, "pid"),
    listeners: [listener(ports.client, ["client", "federation"], false), ...(tls ? [listener(ports.federation, ["federation"], true)] : [])],
    ...(tls && { tls_certificate_path: tls.cert, tls_private_key_path: tls.key, serve_server_wellknown: true }),
    ...(ca && { federation_custom_ca_list: [ca] }),
    database: { name: "sqlite3", args: { database: join(dir, "homeserver.db") } },
    media_store_path: join(dir, "media"),
    signing_key_path: join(dir, "signing.key"),
    log_config: join(dir, "log.json"),
    macaroon_secret_key: "not a secret",
    form_secret: "not a secret",
    registration_shared_secret: "not a secret",
    enable_registration: true,
    enable_registration_without_verification: true,
    report_stats: false,
    suppress_key_server_warning: true,
    trusted_key_servers: [],
    ip_range_blacklist: [],
    federation_ip_range_blacklist: [],
    allow_public_rooms_over_federation: true,
    allow_public_rooms_without_auth: true,
    room_list_publication_rules: [{ action: "allow" }],
    // Whoever was away is tried again soon, so that nobody waits for it.
    federation: { destination_min_retry_interval: "1s", destination_max_retry_interval: "2s", destination_retry_multiplier: 1 },
    rc_message: UNLIMITED,
    rc_registration: UNLIMITED,
    rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
    rc_joins: { local: UNLIMITED, remote: UNLIMITED },
    rc_joins_per_room: UNLIMITED,
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
    rc_admin_redaction: UNLIMITED,
    rc_room_creation: UNLIMITED,
    rc_presence: { per_user: UNLIMITED },
    rc_federation: { window_size: 1000, sleep_limit: 100_000, sleep_delay: 0, reject_limit: 100_000, concurrent: 100 },
    rc_key_requests: UNLIMITED,
  };
}

const LOG = {
  version: 1,
  formatters: { line: { format: "%(asctime)s %(levelname)s %(name)s %(message)s" } },
  handlers: { standard: { class: "logging.StreamHandler", formatter: "line" } },
  root: { level: process.env.SYNAPSE_LOG ?? "WARNING", handlers: ["standard"] },
  disable_existing_loggers: false,
};

/** A Synapse in a folder of its own, which it finds again when it is started anew. */
export class Synapse {
  #process;
  #exit;
  #log;

  /**
   * `ports` are `client` (HTTP) and `federation` (HTTPS, with the files `tls.cert` and `tls.key`); `places` says at which port of
   * this machine the names of others are.
   */
  constructor({ name, dir, ports, tls, ca, places = {} }) {
    Object.assign(this, { name, dir, ports, places, url: `http://127.0.0.1:${ports.client}` });
    this.settings = settings({ name, dir, ports, tls, ca });
    this.#log = join(dir, "synapse.log");
  }

  get #python() {
    if (!process.env.SYNAPSE_PYTHON) throw new Error("SYNAPSE_PYTHON names no Python that has Synapse: run this through `cargo xtask`");
    return process.env.SYNAPSE_PYTHON;
  }

  async start() {
    const config = join(this.dir, "homeserver.json");
    await writeFile(config, JSON.stringify(this.settings));
    await writeFile(join(this.dir, "log.json"), JSON.stringify(LOG));
    const log = openSync(this.#log, "a");
    const env = { ...process.env, PLACES: JSON.stringify(this.places) };
    const launch = (...args) => {
      this.#process = spawn(this.#python, [LAUNCHER, "--config-path", config, ...args], { env, stdio: ["ignore", log, log], cwd: this.dir });
      this.#exit = new Promise((resolve) => this.#process.once("exit", resolve));
    };
    if (!existsSync(this.settings.signing_key_path)) {
      launch("--generate-missing-configs");
      await this.#exit;
    }
    launch();
    const deadline = Date.now() + START_MILLIS;
    for (;;) {
      if (await fetch(`${this.url}/_matrix/client/versions`).then((response) => response.ok, () => false)) return;
      if (this.#process.exitCode !== null || Date.now() > deadline) throw new Error(`Synapse did not start: ${await this.log()}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  get pid() {
    return this.#process.pid;
  }

  async log() {
    return readFile(this.#log, "utf8").catch(() => "");
  }

  async stop(signal = "SIGTERM") {
    this.#process.kill(signal);
    await this.#exit;
  }

  call(...request) {
    return call(this.url, ...request);
  }

  /** A request as anybody on the network makes it. */
  reach(...request) {
    return this.call(...request);
  }
}
