// Tests of the built package in real browsers. Chromium is driven by Playwright itself; Firefox and WebKit run the same
// tests over WebDriver, where FIREFOX_DRIVER_URL and WEBKIT_DRIVER_URL say where their drivers listen.
import { defineConfig } from "@playwright/test";

const project = (name) => ({ name, use: { engine: name } });

export default defineConfig({
  testDir: "browser",
  outputDir: "test-results",
  // Two cores, and tests that measure when things happen.
  workers: 1,
  timeout: 60_000,
  forbidOnly: Boolean(process.env.CI),
  projects: [
    project("chromium"),
    ...(process.env.FIREFOX_DRIVER_URL ? [project("firefox")] : []),
    ...(process.env.WEBKIT_DRIVER_URL ? [project("webkit")] : []),
  ],
  use: {
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ],
    },
  },
});
