// Media: a file for each, or bytes in memory. Uploads are written as they come, downloads read as they are sent.

import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";

import { scaled } from "./thumbnail.mjs";

/** Where uploads lie until they are whole. */
const INCOMING = "incoming";

function tooLarge(limit) {
  return Object.assign(new Error(`the body is larger than ${limit} bytes`), { code: "TOO_LARGE" });
}

/** The pieces of a body: bytes, a request that is still to be read, or a function that gives one piece after the other. */
async function* pieces(body, limit) {
  let size = 0;
  for await (const piece of streamOf(body)) {
    size += piece.length;
    if (size > limit) throw tooLarge(limit);
    yield piece;
  }
}

function streamOf(body) {
  if (body instanceof Uint8Array) return [body];
  return typeof body === "function" ? following(body) : body.stream;
}

async function* following(next) {
  for (let piece = await next(); piece; piece = await next()) yield piece;
}

/** Opens the media in a data folder. */
export async function openBlobs(data) {
  if (data === ":memory:") return new MemoryBlobs();
  const folder = join(data, "media");
  // What a process that was killed has left half-way is nobody's.
  await rm(join(folder, INCOMING), { recursive: true, force: true });
  await mkdir(join(folder, INCOMING), { recursive: true });
  return new FileBlobs(folder);
}

/** Files under names made of the hash of their IDs: IDs come from strangers, and some file systems ignore case. */
class FileBlobs {
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  /** Stores a body and returns its size; it is whole and on the disk, or not there. */
  async put(id, body, limit) {
    const incoming = join(this.#folder, INCOMING, randomUUID());
    try {
      const size = await writeAll(incoming, pieces(body, limit));
      const path = this.#path(id);
      await mkdir(join(path, ".."), { recursive: true });
      await rename(incoming, path);
      await syncFolder(join(path, ".."));
      await syncFolder(this.#folder);
      return size;
    } catch (error) {
      await rm(incoming, { force: true });
      throw error;
    }
  }

  async size(id) {
    return (await this.#stat(id))?.size;
  }

  async read(id, start, end) {
    const file = await open(this.#path(id));
    try {
      const buffer = Buffer.alloc(end - start);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /** A part as a stream. */
  stream(id, start, end) {
    return start < end ? createReadStream(this.#path(id), { start, end: end - 1 }) : Readable.from([]);
  }

  async remove(id) {
    await unlink(this.#path(id)).catch((error) => {
      if (error.code !== "ENOENT") throw error;
    });
  }

  async makeThumbnail(id, thumbnail, frame) {
    const { bytes, contentType } = await scaled(this.#path(id), frame);
    return [await this.put(thumbnail, bytes, Infinity), contentType];
  }

  async #stat(id) {
    try {
      return await stat(this.#path(id));
    } catch (error) {
      if (error.code === "ENOENT") return undefined;
      throw error;
    }
  }

  #path(id) {
    const name = createHash("sha256").update(id).digest("hex");
    return join(this.#folder, name.slice(0, 2), name.slice(2));
  }
}

async function writeAll(path, pieces) {
  const file = await open(path, "wx");
  try {
    let size = 0;
    for await (const piece of pieces) {
      await file.writeFile(piece);
      size += piece.length;
    }
    await file.sync();
    return size;
  } finally {
    await file.close();
  }
}

/** A new name is durable when its folder is. Windows cannot open folders, and needs no such thing. */
async function syncFolder(path) {
  if (process.platform === "win32") return;
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

class MemoryBlobs {
  #blobs = new Map();

  async put(id, body, limit) {
    const gathered = [];
    for await (const piece of pieces(body, limit)) gathered.push(piece);
    const bytes = Buffer.concat(gathered);
    this.#blobs.set(id, bytes);
    return bytes.length;
  }

  async size(id) {
    return this.#blobs.get(id)?.length;
  }

  async read(id, start, end) {
    return this.#found(id).subarray(start, end);
  }

  stream(id, start, end) {
    return Readable.from([this.#found(id).subarray(start, end)]);
  }

  async remove(id) {
    this.#blobs.delete(id);
  }

  async makeThumbnail(id, thumbnail, frame) {
    const { bytes, contentType } = await scaled(this.#found(id), frame);
    return [await this.put(thumbnail, bytes, Infinity), contentType];
  }

  #found(id) {
    const bytes = this.#blobs.get(id);
    if (!bytes) throw Object.assign(new Error("no such blob"), { code: "ENOENT" });
    return bytes;
  }
}
