// Builds the demo into `dist/`: one bundle, one style sheet, the page, and the npm package's files beside them.
//
//   node build.mjs                                  what is published
//   node build.mjs --serve                          rebuilds on change and serves dist/ on http://localhost:8090/
//   node build.mjs --serve --homeserver=http://…    the same against any other homeserver, to work on the demo alone
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import esbuild from "esbuild";

const here = new URL("./", import.meta.url);
const dist = new URL("dist/", here);
const pkg = new URL("../pkg/", here);
const SERVE_PORT = 8090;

const { values: options } = parseArgs({
  options: { serve: { type: "boolean", default: false }, homeserver: { type: "string" } },
});

const bundle = {
  entryPoints: [fileURLToPath(new URL("src/app.jsx", here))],
  outfile: fileURLToPath(new URL("app.js", dist)),
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: !options.serve,
  sourcemap: options.serve ? "inline" : false,
  define: { HOMESERVER: JSON.stringify(options.homeserver ?? null) },
  // The page helper is the package's own file and stays one. The SDK's encryption is loaded by the SDK on demand,
  // which the demo never does, so its half a megabyte and its wasm stay out.
  external: ["./inglenook.js", "./rust-crypto/index.js"],
  legalComments: "linked",
  logLevel: "info",
};

async function copyStaticFiles() {
  let page = await readFile(new URL("index.html", here), "utf8");
  if (options.homeserver) {
    page = page.replace("connect-src 'self'", `connect-src 'self' ${new URL(options.homeserver).origin}`);
  }
  await writeFile(new URL("index.html", dist), page);
  for (const name of ["app.css", "icon.svg", "manifest.webmanifest", "relays.json"]) {
    await cp(new URL(name, here), new URL(name, dist));
  }
}

async function copyPackage() {
  if (!existsSync(pkg)) {
    console.warn("pkg/ is not there: run ./pkg-build.sh and build again, or the page will say that its server is missing.");
    return;
  }
  await cp(pkg, dist, { recursive: true, filter: (path) => !/(package\.json|README\.md|LICENSE[^/]*|\.gitignore|\.d\.ts)$/.test(path) });
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await copyStaticFiles();
if (!options.homeserver) await copyPackage();

if (options.serve) {
  const context = await esbuild.context(bundle);
  await context.watch();
  await context.serve({ servedir: fileURLToPath(dist), host: "localhost", port: SERVE_PORT });
} else {
  await esbuild.build(bundle);
}
