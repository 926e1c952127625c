// How names, times and sizes are written.

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const yearFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const DAY = 86_400_000;
const COLOURS = 8;

export const clock = (time) => clockFormat.format(time);
export const fullTime = (time) => fullFormat.format(time);
export const startOfDay = (time) => new Date(time).setHours(0, 0, 0, 0);

/** "Today", "Yesterday", "Monday 3 June", or with the year when that was another one. */
export function dayName(time, now = Date.now()) {
  const days = Math.round((startOfDay(now) - startOfDay(time)) / DAY);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (new Date(time).getFullYear() === new Date(now).getFullYear() ? dayFormat : yearFormat).format(time);
}

/** As short as the room list wants it. */
export function shortTime(time, now = Date.now()) {
  if (startOfDay(time) === startOfDay(now)) return clock(time);
  return (now - time < 6 * DAY ? weekdayFormat : shortFormat).format(time);
}

/** @returns {string} "1.4 MB" */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

/** One or two letters for a name without a picture. */
export function initials(name) {
  const words = name.replace(/^[@#!]/, "").split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0] ?? "?"];
  return letters.map((word) => [...word][0]).join("").toUpperCase();
}

/** A colour's number, the same for an id on every screen. */
export function colourOf(id) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) | 0;
  return Math.abs(hash) % COLOURS;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** "Ada", "Ada and Bo", "Ada, Bo and 2 others". */
export function listOf(names) {
  if (names.length < 2) return names.join("");
  if (names.length === 2) return `${names[0]} and ${names[1]}`;
  return `${names[0]}, ${names[1]} and ${count(names.length - 2, "other")}`;
}
