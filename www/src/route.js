// Places and their addresses: every view has a hash, so that "back" works, and so has each of two columns side by side.
import { INVITED } from "./invitation.js";

/**
 * `#/@ada/room/!id/members` is a place, and so is `#/@ada/explore/#alias:server`; two places are joined by `&`. `#/invited/…` is what a link of invitation opens.
 * @typedef {{account: string|null, view: "home"|"room"|"explore"|"create"|"profile"|"join", roomId?: string,
 *   address?: string, invitation?: string, panel?: "members"|"settings"|"invite"|"server"}} Place
 */

/** Two conversations fit beside each other; a third would only be narrow. */
export const MOST_COLUMNS = 2;

/** @returns {Place[]} */
export function placesOf(hash) {
  return hash.replace(/^#/, "").split("&").filter(Boolean).slice(0, MOST_COLUMNS).map(placeOf);
}

function placeOf(path) {
  const [account, view, ...rest] = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (account === INVITED && view) return { account: null, view: "join", invitation: view };
  if (!account?.startsWith("@")) return { account: null, view: "join" };
  const roomId = view === "room" ? rest.shift() : undefined;
  const address = view === "explore" && /^[#!]/.test(rest[0]) ? rest.shift() : undefined;
  return { account: account.slice(1), view: view ?? "home", roomId, address, panel: rest[0] };
}

/** @param {Place[]} places */
export function hashOf(places) {
  return `#${places.map(pathOf).join("&")}`;
}

function pathOf({ account, view, roomId, address, invitation, panel }) {
  if (!account) return invitation ? `/${INVITED}/${invitation}` : "/join";
  return "/" + [`@${account}`, view, roomId, view === "explore" && address, panel].filter(Boolean).map(encodeURIComponent).join("/").replace("%40", "@");
}

const DEPTHS = ["rooms", "main", "panel"];
const levelOf = (place) => DEPTHS.indexOf(depthOf(place));

/** Whether a column steps out: of a panel, or of a room to the list of rooms. */
export function leadsOut(places, next) {
  return places.length === next.length && next.some((place, at) => levelOf(place) < levelOf(places[at]));
}

/** How far into the column a place is: what a narrow column shows. */
export function depthOf({ view, panel }) {
  if (panel) return "panel";
  return view === "home" ? "rooms" : "main";
}
