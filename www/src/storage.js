// What the page itself remembers (accounts, drafts), apart from other pages that share the origin.

const prefix = `inglenook ${new URL(".", document.baseURI).pathname} `;

/** @returns {any} the value kept under the key, or the fallback */
export function recall(key, fallback = null) {
  try {
    return JSON.parse(localStorage.getItem(prefix + key)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** Keeps a value, or forgets the key when there is nothing to keep. */
export function remember(key, value) {
  if (value === null || value === "") localStorage.removeItem(prefix + key);
  else localStorage.setItem(prefix + key, JSON.stringify(value));
}
