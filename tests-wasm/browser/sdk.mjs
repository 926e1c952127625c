// The unmodified matrix-js-sdk, bundled once for the pages of the tests, and what the tests do with it in the page.
import { build } from "esbuild";

let bundle;

/** The SDK as one ES module. */
export async function sdkBundle() {
  bundle ??= build({
    stdin: { contents: `export * from "matrix-js-sdk";`, resolveDir: import.meta.dirname },
    bundle: true,
    format: "esm",
    write: false,
    logLevel: "error",
    define: { global: "globalThis" },
  });
  return (await bundle).outputFiles[0].text;
}

/** Serves the SDK on the site, opens it in the tab with a node, and gives the page `clients`. */
export async function openClients(tab, site) {
  site.files["matrix-js-sdk.js"] = await sdkBundle();
  await tab.goto(site.url);
  await tab.evaluate(prepare);
}

/** Runs in the page: starts the node, and offers `makeClient` and `settled`. */
async function prepare() {
  const { startNode } = await import("./inglenook.js");
  const sdk = await import("./matrix-js-sdk.js");
  const node = (window.node = await startNode({ serviceWorker: "inglenook-sw.js" }));
  window.sdk = sdk;

  const isLost = (error) => error.name === "ConnectionError" || error instanceof TypeError || error.httpStatus >= 500;

  /** Does a step; repeats it where its worker died under it, as an application would. */
  window.settled = async (step) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await step();
      } catch (error) {
        if (!isLost(error) || attempt === 5) throw error;
      }
    }
  };

  /** Waits until `found` gives something. */
  window.eventually = async (found, what) => {
    const deadline = performance.now() + 20_000;
    for (;;) {
      const value = found();
      if (value) return value;
      if (performance.now() > deadline) throw new Error(`no ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  /** Registers an account and starts a client for it. */
  window.makeClient = async (username) => {
    const anonymous = sdk.createClient({ baseUrl: node.baseUrl });
    const password = "correct horse battery staple";
    const register = () => anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
    // An account whose first answer was lost is there all the same.
    const login = () => anonymous.loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: username }, password });
    const session = await window.settled(register).catch((error) => (error.errcode === "M_USER_IN_USE" ? window.settled(login) : Promise.reject(error)));
    const client = sdk.createClient({
      baseUrl: node.baseUrl,
      accessToken: session.access_token,
      userId: session.user_id,
      deviceId: session.device_id,
      disableVoip: true,
    });
    await client.startClient({ initialSyncLimit: 30, pendingEventOrdering: "detached" });
    await window.eventually(() => ["PREPARED", "SYNCING"].includes(client.getSyncState()), `sync of ${username}`);
    return client;
  };
}
