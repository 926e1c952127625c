// A certificate authority for one test, made by the openssl command.

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { folder } from "./support.mjs";

const run = promisify(execFile);
const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** An authority: its certificate's file, and certificates of names and addresses, each of one or of several. */
export async function makeAuthority(t) {
  const dir = await folder(t);
  const [key, cert] = [join(dir, "ca.key"), join(dir, "ca.pem")];
  await run("openssl", ["req", "-x509", ...KEY, "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=Authority of a test"]);
  let serial = 0;
  const certify = async (...names) => {
    serial += 1;
    const files = { cert: join(dir, `${serial}.pem`), key: join(dir, `${serial}.key`) };
    const [request, extensions] = [join(dir, `${serial}.csr`), join(dir, `${serial}.ext`)];
    await run("openssl", ["req", "-new", ...KEY, "-keyout", files.key, "-out", request, "-subj", `/CN=${names[0]}`]);
    const alternatives = names.map((name) => `${/^[0-9.]+$/.test(name) ? "IP" : "DNS"}:${name}`);
    await writeFile(extensions, `subjectAltName=${alternatives}\n`);
    await run("openssl", ["x509", "-req", "-in", request, "-CA", cert, "-CAkey", key, "-set_serial", String(serial), "-days", "2", "-extfile", extensions, "-out", files.cert]);
    return files;
  };
  return { ca: cert, certify };
}
