// The accounts that this browser holds: made from a display name alone, signed in to, kept, and let go.
import { createClient } from "matrix-js-sdk";
import { recall, remember } from "./storage.js";
import { openWelcomeRoom } from "./welcome.js";

/**
 * @typedef {{userId: string, localpart: string, accessToken: string, deviceId: string, password: string, name: string,
 *   avatar?: string}} Account
 */

const KEY = "accounts";
const changes = new EventTarget();
const DEVICE_NAME = "Inglenook in a browser";
/** Twenty-four characters of this alphabet are 142 bits. */
const PASSWORD_ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.~+*=";
const PASSWORD_LENGTH = 24;
/** A user id may have 255 bytes in all, the server's name included. */
const LONGEST_LOCALPART = 32;

/** @returns {Account[]} */
export const accounts = () => recall(KEY, []);

/** @returns {Account|undefined} */
export const accountNamed = (localpart) => accounts().find((account) => account.localpart === localpart);

/** Calls back whenever an account is added, changed or let go. */
export function onAccountsChange(callback) {
  changes.addEventListener("change", callback);
  return () => changes.removeEventListener("change", callback);
}

function keep(list) {
  remember(KEY, list);
  changes.dispatchEvent(new Event("change"));
}

/** @param {Account} account */
export function keepAccount(account) {
  keep([...accounts().filter(({ userId }) => userId !== account.userId), account]);
}

/** Changes what is kept of one account, in its place. */
export function updateAccount(userId, change) {
  const list = accounts();
  const before = list.find((account) => account.userId === userId);
  if (!before || Object.keys(change).every((key) => before[key] === change[key])) return;
  keep(list.map((account) => (account.userId === userId ? { ...account, ...change } : account)));
}

export function forgetAccount(userId) {
  keep(accounts().filter((account) => account.userId !== userId));
}

/**
 * The whole of signing up: a free username made from the name, a random password, and a first room unless one is invited to another.
 * @returns {Promise<{account: Account, roomId?: string}>}
 */
export async function createAccount(node, name, { invited = false } = {}) {
  const guest = createClient({ baseUrl: node.baseUrl });
  const localpart = await freeLocalpart(guest, name);
  const password = randomPassword();
  const session = await register(guest, { username: localpart, password, initial_device_display_name: DEVICE_NAME });
  const account = accountFrom(session, password, name);
  const client = createClient({ baseUrl: node.baseUrl, userId: account.userId, accessToken: account.accessToken });
  await client.setDisplayName(name);
  keepAccount(account);
  return { account, roomId: invited ? undefined : await openWelcomeRoom(client, name) };
}

/** Registers by the only stage that asks nothing of a person. */
async function register(client, data) {
  try {
    return await client.registerRequest({ ...data, auth: { type: "m.login.dummy" } });
  } catch (error) {
    if (error.httpStatus !== 401 || !error.data?.session) throw error;
    return client.registerRequest({ ...data, auth: { type: "m.login.dummy", session: error.data.session } });
  }
}

/** Signs in to an account that the server has already, and gets a device of its own. */
export async function signIn(node, user, password, deviceId) {
  const client = createClient({ baseUrl: node.baseUrl });
  const session = await client.loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user },
    password,
    device_id: deviceId,
    initial_device_display_name: DEVICE_NAME,
  });
  const known = accounts().find(({ userId }) => userId === session.user_id);
  const account = accountFrom(session, password, known?.name ?? localpartOf(session.user_id));
  keepAccount({ ...known, ...account });
  return account;
}

function accountFrom(session, password, name) {
  const userId = session.user_id;
  return { userId, localpart: localpartOf(userId), accessToken: session.access_token, deviceId: session.device_id, password, name };
}

export const localpartOf = (userId) => userId.slice(1, userId.indexOf(":"));

/** "Zoë Ångström" becomes "zoe.angstrom", and "zoe.angstrom2" when that one is taken. */
async function freeLocalpart(client, name) {
  const stem = localpartFrom(name);
  for (let attempt = 1; ; attempt++) {
    const candidate = attempt === 1 ? stem : stem + (attempt < 10 ? attempt : Math.floor(Math.random() * 1e6));
    if (await client.isUsernameAvailable(candidate)) return candidate;
  }
}

/** Only the characters of https://spec.matrix.org/v1.19/appendices/#user-identifiers, and never only digits. */
export function localpartFrom(name) {
  const plain = name.normalize("NFKD").toLowerCase().replace(/\s+/g, ".").replace(/[^a-z0-9._=-]/g, "");
  const trimmed = plain.replace(/^[._=-]+|[._=-]+$/g, "").slice(0, LONGEST_LOCALPART);
  return /[a-z]/.test(trimmed) ? trimmed : `guest${trimmed}`;
}

function randomPassword() {
  const bytes = crypto.getRandomValues(new Uint8Array(PASSWORD_LENGTH));
  return Array.from(bytes, (byte) => PASSWORD_ALPHABET[byte % PASSWORD_ALPHABET.length]).join("");
}
