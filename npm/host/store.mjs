// The store's rows in one ordered map of bytes: LevelDB in a folder, or one in memory.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { ClassicLevel } from "classic-level";
import { MemoryLevel } from "memory-level";

const BYTES = { keyEncoding: "view", valueEncoding: "view" };

/** The row that counts claims. No table's name begins with this byte. */
const EPOCH = Uint8Array.of(0);

/** How much a scan reads ahead in one go, in bytes and in rows. */
const READ_AHEAD_BYTES = 1 << 20;
const READ_AHEAD_ROWS = 1_000;

/** The wasm's largest number stands for no limit. */
const NO_LIMIT = 0xffff_ffff;

/** An error with a code that the wasm knows. */
function coded(code, message, cause) {
  return Object.assign(new Error(message, { cause }), { code });
}

/** Opens the rows in a data folder; fails where another process has them. */
export async function openStore(data) {
  if (data === ":memory:") return Store.open(new MemoryLevel({ ...BYTES, storeEncoding: "view" }));
  const folder = join(data, "db");
  await mkdir(folder, { recursive: true });
  try {
    return await Store.open(new ClassicLevel(folder, BYTES));
  } catch (error) {
    if (error.cause?.code === "LEVEL_LOCKED") throw new Error(`the data folder ${data} is in use by another process`);
    throw new Error(`the database in ${folder} cannot be opened: ${error.cause?.message ?? error.message}`, { cause: error });
  }
}

/** Rows by key. Each commit is one atomic batch, in the order in which they were asked for. */
export class Store {
  #level;
  #epoch;
  #waiting = [];
  #writing;

  /** What was done so far, for the metrics. */
  counts = { commits: 0, batches: 0, reads: 0, scans: 0 };

  constructor(level, epoch) {
    this.#level = level;
    this.#epoch = epoch;
  }

  static async open(level) {
    await level.open();
    const row = await level.get(EPOCH);
    return new Store(level, row ? Number(new TextDecoder().decode(row)) : 0);
  }

  /** The value of each key. One row is read at once: a way through the thread pool takes many times as long as most look-ups. */
  async getMany(keys) {
    this.counts.reads += 1;
    return keys.length === 1 ? [this.#level.getSync(keys[0])] : this.#level.getMany(keys);
  }

  async scan(start, end, reverse, limit) {
    this.counts.scans += 1;
    const range = { gte: start, lt: end, reverse, highWaterMarkBytes: READ_AHEAD_BYTES };
    const rows = await this.#level.iterator({ ...range, limit: limit === NO_LIMIT ? -1 : limit }).all();
    return rows.flat();
  }

  /** Writes all or nothing. What waits while another batch is written goes into one batch with it, and so costs one sync. */
  async commit(writes, strict, epoch) {
    if (epoch !== this.#epoch) throw coded("SUPERSEDED", "another instance has claimed the database");
    this.counts.commits += 1;
    await this.#enqueue(writes, strict);
  }

  /** Raises the epoch: from now on commits need this one. */
  async claim() {
    this.#epoch += 1;
    const epoch = this.#epoch;
    await this.#enqueue([EPOCH, new TextEncoder().encode(String(epoch))], true);
    return epoch;
  }

  async measure(start, end) {
    const iterator = this.#level.iterator({ gte: start, lt: end, highWaterMarkBytes: READ_AHEAD_BYTES, fillCache: false });
    let [rows, bytes] = [0, 0];
    for (let some = await iterator.nextv(READ_AHEAD_ROWS); some.length > 0; some = await iterator.nextv(READ_AHEAD_ROWS)) {
      rows += some.length;
      for (const [key, value] of some) bytes += key.length + value.length;
    }
    await iterator.close();
    return [rows, bytes];
  }

  /** Waits for what is under way, and lets go of the folder. */
  async close() {
    await this.#writing;
    await this.#level.close();
  }

  #enqueue(writes, strict) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ writes, strict, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  async #write() {
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0);
      try {
        this.counts.batches += 1;
        await this.#level.batch(together.flatMap(({ writes }) => operations(writes)), { sync: together.some(({ strict }) => strict) });
        for (const { resolve } of together) resolve();
      } catch (error) {
        for (const { reject } of together) reject(told(error));
      }
    }
    // At once, not a turn later: what is asked for in between would be written by nobody.
    this.#writing = undefined;
  }
}

function operations(writes) {
  const operations = [];
  for (let at = 0; at < writes.length; at += 2) {
    const [key, value] = [writes[at], writes[at + 1]];
    operations.push(value === undefined ? { type: "del", key } : { type: "put", key, value });
  }
  return operations;
}

/** LevelDB says in words only why it cannot write. */
function told(error) {
  const isFull = /no space left|quota/i.test(`${error.message} ${error.cause?.message ?? ""}`);
  return isFull ? coded("ENOSPC", "the disk is full", error) : error;
}
