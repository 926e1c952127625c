// A tab of a browser, driven by Playwright or over WebDriver: opens pages, runs functions in them, and clicks and types as people do.

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

  /** What the browser's own button does, and a phone's gesture. */
  async back() {
    await this.page.goBack();
  }

  /** Runs a function in the page, with arguments that survive JSON, and gives what its Promise resolves to. */
  async evaluate(run, ...given) {
    return this.page.evaluate(callIn, [String(run), given]);
  }

  /** Clicks the first element that the selector finds, as soon as it can be clicked. */
  async click(selector) {
    await this.page.locator(selector).first().click();
  }

  /** Replaces what stands in a field. */
  async fill(selector, text) {
    await this.page.locator(selector).first().fill(text);
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
    if (!response.ok) throw Object.assign(new Error(`${method} ${path}: ${value.message || value.error}`), { kind: value.error });
    return value;
  }
}

/** What an element's key is called in answers: https://www.w3.org/TR/webdriver2/#elements */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
/** What passes by itself while a page is still being drawn. */
const PASSING = /no such element|stale element|not interactable|intercepted/;
const PATIENCE_MILLIS = 15_000;
const AGAIN_MILLIS = 50;

class WebDriverTab {
  constructor(browser, handle) {
    this.browser = browser;
    this.handle = handle;
  }

  async #ask(method, path, body) {
    await this.browser.ask("POST", "/window", { handle: this.handle });
    return this.browser.ask(method, path, body);
  }

  /** Does something to an element, and again as long as it is not there yet or in motion. */
  async #act(selector, ...steps) {
    const deadline = Date.now() + PATIENCE_MILLIS;
    for (;;) {
      try {
        const { [ELEMENT]: id } = await this.#ask("POST", "/element", { using: "css selector", value: selector });
        for (const [step, body] of steps) await this.#ask("POST", `/element/${id}/${step}`, body);
        return;
      } catch (error) {
        if (!PASSING.test(error.kind) || Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLIS));
      }
    }
  }

  async click(selector) {
    await this.#act(selector, ["click", {}]);
  }

  async fill(selector, text) {
    await this.#act(selector, ["clear", {}], ["value", { text }]);
  }

  async goto(url) {
    await this.#ask("POST", "/url", { url });
  }

  async reload() {
    await this.#ask("POST", "/refresh", {});
  }

  async back() {
    await this.#ask("POST", "/back", {});
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
