// The store's rows in one ordered map of bytes: LevelDB in a folder, or one in memory.

import { mkdir, open, rm } from "node:fs/promises";
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

/** What LevelDB may write when it is opened: its log of 4 MB as a table, and some small files. Each piece is tried by itself. */
const ROOM_PIECES = 8;
const ROOM_PIECE_BYTES = 1 << 20;

/** An error with a code that the wasm knows. */
function coded(code, message, cause) {
  return Object.assign(new Error(message, { cause }), { code });
}

/** Opens the rows in a data folder; fails where another process has them. */
export async function openStore(data, log) {
  if (data === ":memory:") return Store.open(new MemoryLevel({ ...BYTES, storeEncoding: "view" }));
  const folder = join(data, "db");
  const room = join(data, "room");
  await mkdir(folder, { recursive: true });
  await rm(room, { force: true });
  try {
    return await Store.open(new ClassicLevel(folder, BYTES), { hasRoom: () => hasRoom(room), log });
  } catch (error) {
    if (error.cause?.code === "LEVEL_LOCKED") throw new Error(`the data folder ${data} is in use by another process`);
    throw new Error(`the database in ${folder} cannot be opened: ${error.cause?.message ?? error.message}`, { cause: error });
  }
}

/** Fails where the disk has not the room that opening a database takes. Nothing but writing tells, where there are quotas. */
async function hasRoom(path) {
  const file = await open(path, "w");
  try {
    for (let piece = 0; piece < ROOM_PIECES; piece += 1) await file.writeFile(Buffer.alloc(ROOM_PIECE_BYTES));
    await file.sync();
  } finally {
    await file.close();
    await rm(path);
  }
}

/**
 * Rows by key. Each commit is one atomic batch, in the order in which they were asked for.
 *
 * After a batch that failed, LevelDB's log may end with half of it, and a reader of the log gives up there: whatever was written
 * behind it would be lost. So nothing is: the database is opened anew first, which begins another log, and until then commits are
 * refused. Reads go on meanwhile, since what failed was never among the rows in memory.
 */
export class Store {
  #level;
  #hasRoom;
  #log;
  #epoch;
  #waiting = [];
  #writing;
  /** The batch that failed, until that is mended: its keys and, once they were read, the rows that these had before, as operations. */
  #failed;
  #mending;
  #reopening;
  #reading = new Set();

  /** What was done so far, for the metrics. */
  counts = { commits: 0, batches: 0, reads: 0, scans: 0 };

  constructor(level, { hasRoom, log }, epoch) {
    this.#level = level;
    this.#hasRoom = hasRoom;
    this.#log = log;
    this.#epoch = epoch;
  }

  /** `hasRoom` fails as long as the database could not be opened anew. */
  static async open(level, { hasRoom = async () => {}, log } = {}) {
    await level.open();
    const row = await level.get(EPOCH);
    return new Store(level, { hasRoom, log }, row ? Number(new TextDecoder().decode(row)) : 0);
  }

  /** The value of each key. One row is read at once: a way through the thread pool takes many times as long as most look-ups. */
  async getMany(keys) {
    this.counts.reads += 1;
    return this.#read(async () => (keys.length === 1 ? [this.#level.getSync(keys[0])] : this.#level.getMany(keys)));
  }

  async scan(start, end, reverse, limit) {
    this.counts.scans += 1;
    const range = { gte: start, lt: end, reverse, highWaterMarkBytes: READ_AHEAD_BYTES };
    const rows = await this.#read(() => this.#level.iterator({ ...range, limit: limit === NO_LIMIT ? -1 : limit }).all());
    return rows.flat();
  }

  /** Writes all or nothing. What waits while another batch is written goes into one batch with it, and so costs one sync. */
  async commit(writes, strict, epoch) {
    if (epoch !== this.#epoch) throw coded("SUPERSEDED", "another instance has claimed the database");
    this.counts.commits += 1;
    await this.#enqueue(operations(writes), strict);
  }

  /** Raises the epoch: from now on commits need this one. */
  async claim() {
    this.#epoch += 1;
    const epoch = this.#epoch;
    await this.#enqueue(operations([EPOCH, new TextEncoder().encode(String(epoch))]), true);
    return epoch;
  }

  measure(start, end) {
    return this.#read(() => measured(this.#level.iterator({ gte: start, lt: end, highWaterMarkBytes: READ_AHEAD_BYTES, fillCache: false })));
  }

  /** Fails where nothing can be written or read; a database that has failed is opened anew, if that can be. */
  async check() {
    if (this.#failed) await this.#enqueue([], false);
    await this.getMany([EPOCH]);
  }

  /** Waits for what is under way, and lets go of the folder. */
  async close() {
    await this.#writing;
    await this.#mending?.catch(() => {});
    await this.#level.close();
  }

  /** Reads, but not while the database is being opened anew. */
  async #read(work) {
    while (this.#reopening) await this.#reopening;
    // Where it could not be opened, it may be possible now.
    if (this.#level.status === "closed") await this.#mend();
    const reading = work();
    this.#reading.add(reading);
    try {
      return await reading;
    } finally {
      this.#reading.delete(reading);
    }
  }

  #enqueue(operations, strict) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, strict, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  async #write() {
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0);
      try {
        if (this.#failed) await this.#mend();
        await this.#batch(together.flatMap(({ operations }) => operations), together.some(({ strict }) => strict));
        for (const { resolve } of together) resolve();
      } catch (error) {
        for (const { reject } of together) reject(told(error));
      }
    }
    // At once, not a turn later: what is asked for in between would be written by nobody.
    this.#writing = undefined;
  }

  async #batch(operations, sync) {
    this.counts.batches += 1;
    try {
      await this.#level.batch(operations, { sync });
    } catch (error) {
      this.#failed = { keys: operations.map(({ key }) => key) };
      this.#log?.error(`${told(error).message}; nothing is written until it can be opened anew`);
      throw error;
    }
  }

  /** Opens the database anew if a batch has failed. All who need that at the same time wait for the same. */
  #mend() {
    if (!this.#failed) return undefined;
    this.#mending ??= this.#openAnew().finally(() => (this.#mending = undefined));
    return this.#mending;
  }

  async #openAnew() {
    await this.#hasRoom();
    this.#failed.before ??= await this.#rowsOf(this.#failed.keys);
    this.#reopening = this.#reopen(this.#failed.before).finally(() => (this.#reopening = undefined));
    await this.#reopening;
    this.#failed = undefined;
    this.#log?.info("the database was opened anew");
  }

  async #rowsOf(keys) {
    const values = await this.#level.getMany(keys);
    return keys.map((key, index) => operation(key, values[index]));
  }

  /** A batch that failed may be found whole in the log all the same. It was refused: what it would have changed is put back. */
  async #reopen(before) {
    await Promise.allSettled(this.#reading);
    await this.#level.close();
    await this.#level.open();
    try {
      await this.#level.batch(before, { sync: true });
    } catch (error) {
      await this.#level.close();
      throw error;
    }
  }
}

async function measured(iterator) {
  let [rows, bytes] = [0, 0];
  for (let some = await iterator.nextv(READ_AHEAD_ROWS); some.length > 0; some = await iterator.nextv(READ_AHEAD_ROWS)) {
    rows += some.length;
    for (const [key, value] of some) bytes += key.length + value.length;
  }
  await iterator.close();
  return [rows, bytes];
}

function operations(writes) {
  const operations = [];
  for (let at = 0; at < writes.length; at += 2) operations.push(operation(writes[at], writes[at + 1]));
  return operations;
}

function operation(key, value) {
  return value === undefined ? { type: "del", key } : { type: "put", key, value };
}

/** LevelDB says in words only why it cannot write. */
function told(error) {
  const said = error.cause?.message ?? error.message;
  return /no space left|quota/i.test(said) ? coded("ENOSPC", "the disk is full", error) : coded("FAILED", `the database has failed: ${said}`, error);
}
