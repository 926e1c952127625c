// The demo as people use it: an account in one step, rooms, talk, and everything there again after a reload.
import { at, choose, createRoom, register, say, seen, sees, seesMessage, test } from "./demo.mjs";
import { expect, until } from "./fixtures.mjs";

const RELOADS = 6;

test("an account, a room, a message, and all of it again after a reload", async ({ tab }) => {
  await register(tab, "Ada Lovelace");
  const welcome = await sees(tab, ({ title, messages }) => title === "Welcome" && messages.length === 3);
  expect(welcome.messages[0].body).toContain("Welcome, Ada Lovelace");

  await createRoom(tab, "Hearth");
  await say(tab, "Is it warm in here?");
  await seesMessage(tab, "Is it warm in here?");
  await choose(tab, "edit");
  await say(tab, "It is warm in here.");
  await seesMessage(tab, "It is warm in here.", { edited: true });
  await choose(tab, "react");
  await tab.click(at("emoji"));
  await seesMessage(tab, "It is warm in here.", { edited: true, reactions: ["👍 1"] });

  // Whether a view listens before the first sync tells something is a matter of milliseconds: once would prove little.
  for (let reload = 0; reload < RELOADS; reload++) {
    await tab.reload();
    await seesMessage(tab, "It is warm in here.", { edited: true, reactions: ["👍 1"] });
  }
  expect((await tab.evaluate(seen)).rooms.sort()).toEqual(["Hearth", "Welcome"]);
  await say(tab, "Still here.");
  await seesMessage(tab, "Still here.");
});

test("back leads the way one came, and not into a panel that was closed", async ({ tab }) => {
  const opened = () => document.querySelectorAll('[data-testid="close-panel"]').length;
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await createRoom(tab, "Hearth");
  await tab.click(at("invite"));
  await until(() => tab.evaluate(opened), (count) => count === 1);
  await tab.click(at("close-panel"));
  await until(() => tab.evaluate(opened), (count) => count === 0);
  await tab.back();
  await sees(tab, ({ title }) => title === "Welcome");
  expect(await tab.evaluate(opened)).toBe(0);
});

test("two accounts side by side: an invitation, and talk in both directions", async ({ tab }) => {
  const [ada, bo] = [".column:first-of-type", ".column:last-of-type"];
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await createRoom(tab, "Hearth");
  await tab.click(at("try-alone"));
  await register(tab, "Bo");
  await sees(tab, ({ title }) => title === "Welcome", bo);

  await tab.click(`${ada} ${at("invite")}`);
  await tab.click(`${ada} ${at("invite-user")}`);
  await tab.click(`${ada} ${at("close-panel")}`);
  await tab.click(`${bo} .room-header .back`);
  await tab.click(`${bo} .room-item:has(.badge.loud)`);
  await tab.click(`${bo} ${at("accept-invite")}`);
  await sees(tab, ({ title }) => title === "Hearth", bo);

  await say(tab, "Come in!", ada);
  await seesMessage(tab, "Come in!", {}, bo);
  await say(tab, "Thank you.", bo);
  await seesMessage(tab, "Thank you.", {}, ada);
});
