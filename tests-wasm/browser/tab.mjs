// A tab of a browser, driven by Playwright or over WebDriver: opens pages, and runs functions in them.

/** Chromium, through Playwright. */
export class PlaywrightTab {
  constructor(page) {
    this.page = page;
  }

  async goto(url) {
    await this.page.goto(url);
  }

  async reload() {
    await this.page.reload();
  }

  /** Runs a function in the page, with arguments that survive JSON, and gives what its Promise resolves to. */
  async evaluate(run, ...given) {
    return this.page.evaluate(callIn, [String(run), given]);
  }

  /** Stops workers as the browser does when it likes. */
  async workerKiller() {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send("ServiceWorker.enable");
    const killer = { kills: 0 };
    killer.kill = async () => {
      await session.send("ServiceWorker.stopAllWorkers");
      killer.kills += 1;
    };
    return killer;
  }

  async close() {
    await this.page.close();
  }
}

function callIn([source, given]) {
  return new Function(`return (${source})`)()(...given);
}

/** Any engine, over the WebDriver protocol. One session for each browser, one window for each tab. */
export class WebDriverBrowser {
  #session;

  constructor(driverUrl, capabilities) {
    this.driverUrl = driverUrl;
    this.capabilities = capabilities;
  }

  async start() {
    const { sessionId } = await this.#send("POST", "/session", { capabilities: { alwaysMatch: this.capabilities } });
    this.#session = `/session/${sessionId}`;
    await this.ask("POST", "/timeouts", { script: 50_000, pageLoad: 50_000 });
  }

  async stop() {
    await this.#send("DELETE", this.#session);
  }

  async ask(method, path, body) {
    return this.#send(method, this.#session + path, body);
  }

  async open() {
    const { handle } = await this.ask("POST", "/window/new", { type: "tab" });
    return new WebDriverTab(this, handle);
  }

  async #send(method, path, body) {
    const response = await fetch(this.driverUrl + path, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${value.message ?? value.error}`);
    return value;
  }
}

class WebDriverTab {
  constructor(browser, handle) {
    this.browser = browser;
    this.handle = handle;
  }

  async #ask(method, path, body) {
    await this.browser.ask("POST", "/window", { handle: this.handle });
    return this.browser.ask(method, path, body);
  }

  async goto(url) {
    await this.#ask("POST", "/url", { url });
  }

  async reload() {
    await this.#ask("POST", "/refresh", {});
  }

  async evaluate(run, ...given) {
    const script = `
      const done = arguments[arguments.length - 1];
      Promise.resolve().then(() => (${run})(...arguments[0])).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const { value, error } = await this.#ask("POST", "/execute/async", { script, args: [given] });
    if (error) throw new Error(error);
    return value;
  }

  async close() {
    await this.#ask("DELETE", "/window");
  }
}
