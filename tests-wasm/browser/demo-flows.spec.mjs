// The demo's flows, walked as people do: two accounts side by side, one alone, without a network, by keyboard, and on a small screen.
import { readFile } from "node:fs/promises";

import AxeBuilder from "@axe-core/playwright";

import { DEMO, at, createRoom, register, say, sees, seesMessage, test } from "./demo.mjs";
import { expect, until } from "./fixtures.mjs";

test.skip(({ engine }) => engine !== "chromium", "walked in one engine; what differs between them is tested elsewhere");

const [ADA, BO] = [".column:first-of-type", ".column:last-of-type"];

/** Runs in the page: a small picture, as a PNG in base64. */
function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  canvas.getContext("2d").fillRect(8, 8, 32, 32);
  return canvas.toDataURL("image/png").split(",")[1];
}

/** Ada and Bo beside each other, in one room. */
async function pair(tab) {
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await createRoom(tab, "Hearth");
  await tab.click(at("try-alone"));
  await register(tab, "Bo");
  await sees(tab, ({ title }) => title === "Welcome", BO);
  await tab.click(`${ADA} ${at("invite")}`);
  await tab.click(`${ADA} ${at("invite-user")}`);
  await tab.click(`${ADA} ${at("close-panel")}`);
  await tab.click(`${BO} .room-header .back`);
  await tab.click(`${BO} .room-item:has(.badge.loud)`);
  await tab.click(`${BO} ${at("accept-invite")}`);
  await sees(tab, ({ title }) => title === "Hearth", BO);
}

/** Does something with the newest message of a column. */
async function choose(tab, column, tool) {
  await tab.click(`${column} .message:last-child ${at("body")}`);
  await tab.click(`${column} .message:last-child ${at(tool)}`);
}

/** Waits until the elements of a selector say this, by their words. */
const says = (tab, selector, words) => expect(tab.page.locator(selector).first()).toContainText(words, { timeout: 15_000 });
const shows = (tab, selector, count = 1) => expect(tab.page.locator(selector)).toHaveCount(count, { timeout: 15_000 });

test("talk: typing, receipts, replies, reactions, edits, deletions, pictures and files", async ({ tab }) => {
  await pair(tab);
  await tab.fill(`${BO} ${at("composer")}`, "Is it");
  await says(tab, `${ADA} ${at("typing")}`, "Bo is writing");
  await say(tab, "Is it warm?", BO);
  await seesMessage(tab, "Is it warm?", {}, ADA);
  await expect(tab.page.locator(`${BO} ${at("readers")}`).last()).toHaveAttribute("title", "Read by Ada");
  await shows(tab, `${ADA} .typing-dots`, 0);

  await choose(tab, ADA, "reply");
  await says(tab, `${ADA} .intent`, "Reply to Bo");
  await say(tab, "Come adn see.", ADA);
  await seesMessage(tab, "Come adn see.", {}, BO);
  await says(tab, `${BO} .message:last-child .quote`, "Is it warm?");

  await choose(tab, BO, "react");
  await tab.click(`${BO} [data-emoji="❤️"]`);
  await says(tab, `${ADA} ${at("reaction")}`, "❤️ 1");
  await tab.click(`${ADA} ${at("reaction")}`);
  await says(tab, `${BO} ${at("reaction")}`, "❤️ 2");
  await tab.click(`${BO} ${at("reaction")}`);
  await says(tab, `${ADA} ${at("reaction")}`, "❤️ 1");

  await choose(tab, ADA, "edit");
  await say(tab, "Come and see.", ADA);
  await says(tab, `${BO} .message:last-child ${at("body")}`, "Come and see.");
  await tab.click(`${BO} ${at("edited")}`);
  await says(tab, ".versions", "Come adn see.");
  await tab.page.keyboard.press("Escape");
  await shows(tab, ".versions", 0);

  await choose(tab, ADA, "redact");
  await tab.click(at("confirm"));
  await says(tab, `${BO} .message:last-child`, "Message deleted");

  const files = tab.page.locator(`${ADA} ${at("file-input")}`);
  await files.setInputFiles({ name: "embers.png", mimeType: "image/png", buffer: Buffer.from(await tab.evaluate(picture), "base64") });
  const shown = tab.page.locator(`${BO} .picture-button img`);
  await expect.poll(() => shown.evaluate((image) => image.naturalWidth), { timeout: 15_000 }).toBe(64);
  await files.setInputFiles({ name: "wood.txt", mimeType: "text/plain", buffer: Buffer.from("birch, ash") });
  await says(tab, `${BO} .message:last-child .file-name`, "wood.txt");
  const [download] = await Promise.all([tab.page.waitForEvent("download"), tab.click(`${BO} .file`)]);
  expect(String(await readFile(await download.path()))).toBe("birch, ash");
});

test.describe("where somebody is put out", () => {
  // Who is put out may have been about to say how far they have read.
  test.use({ expected: /status of 403.*read_markers/ });

  test("what is unread, what a room is called, who may do what in it, and who has to leave", async ({ tab }) => {
    await pair(tab);
    await tab.click(`${BO} .room-header .back`);
    await say(tab, "One.", ADA);
    await say(tab, "@Bo: two.", ADA);
    const item = `${BO} .room-item:has-text("Hearth")`;
    await says(tab, `${item} ${at("unread")}`, "2");
    await expect(tab.page).toHaveTitle("(2) Inglenook");
    await tab.click(item);
    await says(tab, `${BO} ${at("unread-line")} + .message`, "One.");
    await expect(tab.page).toHaveTitle("Inglenook");

    await tab.click(`${ADA} ${at("room-settings")}`);
    await tab.fill(`${ADA} ${at("settings-name")}`, "Fireside");
    await tab.fill(`${ADA} ${at("settings-topic")}`, "Wood and warmth");
    await tab.click(`${ADA} ${at("settings-save")}`);
    await says(tab, `${BO} ${at("room-title")}`, "Fireside");
    await says(tab, `${BO} .room-header`, "Wood and warmth");

    await tab.click(`${ADA} ${at("close-panel")}`);
    await tab.click(`${ADA} ${at("members")}`);
    const member = `${ADA} ${at("member")}[data-user-id^="@bo:"]`;
    await tab.click(`${member} .person`);
    await tab.page.locator(`${member} ${at("power-level")}`).selectOption("50");
    await says(tab, `${member} .tag`, "Moderator");
    await tab.click(`${member} ${at("kick")}`);
    await says(tab, `${BO} .empty h2`, "You were removed from Fireside");
  });
});

test("one's name, another account, signing out, and back in by the password", async ({ tab }) => {
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await tab.click(at("account-switcher"));
  await tab.click(at("open-profile"));
  await tab.fill(at("profile-name"), "Ada Lovelace");
  await tab.click(at("profile-save"));
  await says(tab, at("account-switcher"), "Ada Lovelace");
  await tab.click(at("show-password"));
  const password = await tab.page.locator(".copied code").last().textContent();

  await tab.click(at("account-switcher"));
  await tab.click(at("add-account"));
  await register(tab, "Bo");
  await sees(tab, ({ title }) => title === "Welcome");
  await tab.click(at("account-switcher"));
  await tab.click(at("switch-account"));
  await says(tab, at("account-switcher"), "Ada Lovelace");

  await tab.click(at("account-switcher"));
  await tab.click(at("open-profile"));
  await tab.click(at("sign-out"));
  await tab.click(at("confirm"));
  await shows(tab, at("name-field"));
  await tab.click('button:has-text("I have an account on this server")');
  await tab.fill('input[name="user"]', "ada");
  await tab.fill('input[name="password"]', password);
  await tab.click('button:has-text("Sign in")');
  await tab.click('.room-item:has-text("Welcome")');
  await sees(tab, ({ title, messages }) => title === "Welcome" && messages.length === 3);
});

test("one's server lies open: requests, storage, the graph of a room, the log, a console", async ({ tab }) => {
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await tab.click(at("your-server"));
  await says(tab, at("server-panel"), "running");
  await says(tab, at("storage"), "in this browser");
  await says(tab, `${at("server-panel")} table`, "room");

  await tab.click(at("tab-requests"));
  await says(tab, at("requests"), "createRoom");
  await tab.click(at("tab-graph"));
  await shows(tab, ".node.tip");
  await tab.click(".node.tip .row-back");
  await says(tab, ".chosen-event", "prev_events");
  await tab.click(at("tab-log"));
  await says(tab, ".log", "Welcome");
  await tab.click(at("tab-console"));
  await tab.click(at("console-send"));
  await says(tab, at("console-answer"), "@ada:");
});

/** Makes the worker anew, with a script of the test's own before it. */
async function precede(tab, site, script) {
  site.files["inglenook-sw.js"] = script + (await readFile(new URL("inglenook-sw.js", DEMO), "utf8"));
  await tab.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.unregister());
  await tab.reload();
}

test("a relay whose line another holder of the key has is told of in one line", async ({ tab, site }) => {
  await precede(tab, site, `
    self.addEventListener("fetch", (event) => {
      if (!event.request.url.endsWith("/_inglenook/relays")) return;
      event.stopImmediatePropagation();
      event.respondWith(Response.json({ relays: [{ url: "https://relay.example", state: "superseded", until: Date.now() + 60_000 }] }));
    });`);
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await tab.click(at("your-server"));
  await tab.click(at("tab-relays"));
  await says(tab, at("relay-state"), "Another place holds this server's key");
});

test.describe("a server that refuses", () => {
  test.use({ expected: /status of 403|Not now/ });

  test("what was not sent says so, and is sent when it is tried again", async ({ tab, site }) => {
    await precede(tab, site, `
      let refuses = false;
      self.addEventListener("message", ({ data }) => typeof data === "boolean" && (refuses = data));
      self.addEventListener("fetch", (event) => {
        if (!refuses || !event.request.url.includes("/send/")) return;
        event.stopImmediatePropagation();
        event.respondWith(Response.json({ errcode: "M_FORBIDDEN", error: "Not now." }, { status: 403 }));
      });`);
    await register(tab, "Ada");
    await sees(tab, ({ title }) => title === "Welcome");
    await createRoom(tab, "Hearth");
    const refuse = (refuses) => tab.evaluate((refuses) => navigator.serviceWorker.controller.postMessage(refuses), refuses);
    await refuse(true);
    await say(tab, "Anybody?");
    await says(tab, at("not-sent"), "Not sent.");
    await refuse(false);
    await tab.click(at("retry"));
    await seesMessage(tab, "Anybody?");
    await shows(tab, at("not-sent"), 0);
  });
});

test.describe("without a network", () => {
  test.use({ expected: /ERR_CONNECTION_REFUSED|net::ERR_FAILED/ });

  test("the page opens, with all that was said, and one goes on talking", async ({ tab, site }) => {
    await register(tab, "Ada");
    await sees(tab, ({ title }) => title === "Welcome");
    await say(tab, "Before.");
    await seesMessage(tab, "Before.");
    const kept = () => tab.evaluate(async (scope) => (await (await caches.open(`inglenook shell ${scope}`)).keys()).map(({ url }) => url.slice(scope.length)), site.url);
    await until(kept, (names) => ["", "app.js", "app.css", "inglenook.js", "relays.json"].every((name) => names.includes(name)));
    await site.stop();
    await tab.reload();
    await seesMessage(tab, "Before.");
    await say(tab, "Without a network.");
    await seesMessage(tab, "Without a network.");
  });
});

test("by keyboard alone: an account, a message, its correction, another room", async ({ tab }) => {
  const { keyboard } = tab.page;
  await expect(tab.page.locator(at("name-field"))).toBeFocused();
  await keyboard.type("Ada");
  await keyboard.press("Enter");
  await sees(tab, ({ title }) => title === "Welcome");
  await expect(tab.page.locator(at("composer"))).toBeFocused();
  await keyboard.type("Hello wrold");
  await keyboard.press("Enter");
  await seesMessage(tab, "Hello wrold");
  await keyboard.press("ArrowUp");
  await says(tab, ".intent", "Edit your message");
  await keyboard.press("End");
  for (let key = 0; key < 5; key += 1) await keyboard.press("Backspace");
  await keyboard.type("world");
  await keyboard.press("Enter");
  await seesMessage(tab, "Hello world", { edited: true });
  await keyboard.press("Control+k");
  await expect(tab.page.locator(at("switcher"))).toBeFocused();
  await keyboard.type("new room");
  await keyboard.press("Enter");
  await expect(tab.page.locator(at("room-name"))).toBeFocused();
  await keyboard.type("Hearth");
  await keyboard.press("Enter");
  await sees(tab, ({ title }) => title === "Hearth");
});

/** What axe finds wrong in the page as it stands: names, roles, contrast; by night, only contrast differs. */
async function faults(page, colorScheme) {
  const axe = new AxeBuilder({ page });
  const { violations } = await (colorScheme === "dark" ? axe.withRules(["color-contrast"]) : axe).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`));
}

/** Runs in the page: until it was drawn anew. Before, on a busy machine, some elements may still have the other scheme's colours. */
function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve())));
}

/** Runs in the page: what one can press or write in, and cannot get at, since it is beyond the screen's edge. */
function beyond() {
  const pressed = [...document.querySelectorAll("button, a, input, select, textarea, [tabindex='0']")];
  const outside = pressed.filter((element) => {
    const { left, right, width } = element.getBoundingClientRect();
    return width > 0 && element.checkVisibility({ visibilityProperty: true }) && (left < 0 || right > innerWidth) && !element.closest(".scroll-x");
  });
  const words = outside.map((element) => element.getAttribute("aria-label") ?? element.textContent);
  return document.scrollingElement.scrollWidth > innerWidth ? ["the page", ...words] : words;
}

test("everything has a name and enough contrast, by day and by night, and fits into 320 pixels", async ({ tab }) => {
  test.setTimeout(90_000);
  const { page } = tab;
  const look = async (place) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await tab.evaluate(painted);
      expect(await faults(page, colorScheme), `${place}, ${colorScheme}`).toEqual([]);
    }
    await page.setViewportSize({ width: 320, height: 640 });
    await expect.poll(() => tab.evaluate(beyond), `${place} is too wide`).toEqual([]);
    await page.setViewportSize({ width: 1280, height: 800 });
  };
  await shows(tab, at("name-field"));
  await look("the first screen");
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await say(tab, "`code`, https://example.org/a/long/address/that/is/broken/somewhere, and @Ada");
  // What is on its way is paler.
  await expect(page.locator(".sending")).toHaveCount(0);
  await look("a room");
  for (const panel of ["members", "room-settings", "invite"]) {
    await tab.click(at(panel));
    await shows(tab, ".panel");
    await look(panel);
    await tab.click(at("close-panel"));
  }
  await tab.click(at("your-server"));
  for (const part of ["overview", "relays", "requests", "graph", "log", "console"]) {
    await tab.click(at(`tab-${part}`));
    await look(`your server, ${part}`);
  }
});
