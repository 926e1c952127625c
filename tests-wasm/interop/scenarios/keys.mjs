// Keys that sign JSON: https://spec.matrix.org/v1.19/appendices/#signing-json

import { generateKeyPairSync, sign } from "node:crypto";

export const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Canonical JSON, for what has no numbers but integers: https://spec.matrix.org/v1.19/appendices/#canonical-json */
const canonical = (value) =>
  JSON.stringify(value, (_, each) => (each?.constructor === Object ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each));

/** A new Ed25519 key: its public part, unpadded, and what signs an object in an entity's name. */
export function makeKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const id = unpadded(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
  const signature = (value) => unpadded(sign(null, Buffer.from(canonical(value)), privateKey));
  const signed = (value, entity, name) => ({ ...value, signatures: { [entity]: { [`ed25519:${name}`]: signature(value) } } });
  return { id, signed };
}
