// Makes the README's screenshots from the built demo: `node tests-wasm/screenshots.mjs`, after `cargo xtask demo` has built it and the relay.
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { chromium } from "@playwright/test";

import { Relay } from "./browser/relay.mjs";
import { Site } from "./browser/site.mjs";
import config from "./playwright.config.mjs";

const FOLDER = fileURLToPath(new URL("../docs/screenshots/", import.meta.url));
const LINES = ["Good morning. The fire is lit.", "It runs right here, in this page.", "Try pulling the network cable 🙂"];

const at = (testid) => `[data-testid="${testid}"]`;

const relay = new Relay();
await relay.start();
const site = new Site();
site.application = new URL("../www/dist/", import.meta.url);
site.files["relays.json"] = JSON.stringify([relay.url]);
await site.start();
await mkdir(FOLDER, { recursive: true });
const browser = await chromium.launch(config.use.launchOptions);
const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();

try {
  await page.goto(site.url);
  await page.fill(at("name-field"), "Ada");
  await page.click(at("create-account"));
  await page.waitForSelector(at("composer"));
  for (const line of LINES) {
    await page.fill(at("composer"), line);
    await page.keyboard.press("Enter");
    await page.waitForFunction(
      ([selector, line]) => [...document.querySelectorAll(selector)].some((message) => message.textContent.includes(line) && message.dataset.eventId.startsWith("$")),
      [at("message"), line],
    );
  }
  await page.waitForSelector('[data-reachable="true"]');
  await shoot("light", "light");
  await shoot("dark", "dark");
  await page.setViewportSize({ width: 390, height: 800 });
  await shoot("phone", "light");
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.click(at("invite"));
  await page.click(at("open-door"));
  await page.waitForSelector(at("invite-link"));
  await shoot("invite", "light");
} finally {
  await browser.close();
  await site.stop();
  await relay.remove();
}

async function shoot(name, colorScheme) {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.screenshot({ path: `${FOLDER}${name}.png`, animations: "disabled" });
}
