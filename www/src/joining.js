// Rooms that a link or an address has led to: entered as soon as somebody there can let this account in.
//
// A join for which nobody is there is kept by the node, which tries it by itself, also after the page was closed. What is kept
// here is what the person should know of it, and what else may be tried: to knock, or to be let in after knocking.
import { inWords } from "./hooks.js";
import { serverOf } from "./invitation.js";
import { tell } from "./node.js";
import { learnRecord } from "./relays.js";
import { recall, remember } from "./storage.js";

const KEY = "joining";
const FIRST_PAUSE_MILLIS = 2000;
const LONGEST_PAUSE_MILLIS = 60_000;
/** The node's own error field: it keeps the join. */
export const PENDING = "inglenook.pending";

/** @type {Map<string, Joining>} */
const running = new Map();
const keyOf = (session, roomId) => `${session.userId} ${roomId}`;
const kept = () => recall(KEY, []);

/**
 * Goes for the room of an invitation, also after a reload; or for that of an address, `{roomId, roomName, via}`, for which nobody knocks
 * without being told to.
 */
export function beginJoining(session, invitation) {
  const { userId } = session;
  remember(KEY, [...kept().filter((one) => !isSame(one, userId, invitation.roomId)), { by: userId, invitation }]);
  run(session, invitation);
}

/** Goes on with what was under way when the page was left. */
export function resumeJoining(session) {
  for (const { by, invitation } of kept()) if (by === session.userId) run(session, invitation);
}

/** @returns {Joining|undefined} */
export const joiningOf = (session, roomId) => running.get(keyOf(session, roomId));

/** @returns {Joining[]} */
export const allJoining = (session) => [...running.values()].filter((joining) => joining.session === session);

const isSame = ({ by, invitation }, userId, roomId) => by === userId && invitation.roomId === roomId;

function run(session, invitation) {
  const key = keyOf(session, invitation.roomId);
  running.get(key)?.end();
  const joining = new Joining(session, invitation);
  running.set(key, joining);
  joining.attempt();
}

/** One room on the way. Whoever looks is told through the session's `change`. */
class Joining {
  /** @type {"trying"|"waiting"|"asked"|"refused"} */
  state = "trying";
  /** Why it did not work out yet, in words. */
  reason = null;
  #attempts = 0;
  #timer = null;

  constructor(session, invitation) {
    this.session = session;
    this.invitation = invitation;
    addEventListener("online", this.attempt);
    session.addEventListener("change", this.#look);
  }

  get membership() {
    return this.session.client.getRoom(this.invitation.roomId)?.getMyMembership();
  }

  attempt = async () => {
    clearTimeout(this.#timer);
    this.#turn("trying");
    try {
      await this.#enter();
      this.#turn("trying");
      this.#look();
    } catch (error) {
      if (error.httpStatus === 403) await this.#ask(error);
      else this.#wait(error);
    }
  };

  async #enter() {
    const { session, invitation } = this;
    if (invitation.record) await learnRecord(session.node, session.client.getAccessToken(), invitation.record);
    if (this.membership !== "join") await session.client.joinRoom(invitation.roomId, { viaServers: invitation.via ?? [serverOf(invitation.userId)] });
  }

  /** The door is closed, but one may knock. */
  async #ask(refusal) {
    if (this.membership === "knock") return this.#turn("asked");
    const { roomId, userId } = this.invitation;
    if (!userId) return this.#turn("refused", inWords(refusal));
    try {
      await this.session.client.knockRoom(roomId, { viaServers: [serverOf(userId)] });
      this.#turn("asked");
    } catch (error) {
      if (error.httpStatus !== 403) return this.#wait(error);
      this.#turn("refused", inWords(refusal));
    }
  }

  #wait(error) {
    const pause = error.data?.[PENDING] ? LONGEST_PAUSE_MILLIS : Math.min(FIRST_PAUSE_MILLIS * 2 ** this.#attempts++, LONGEST_PAUSE_MILLIS);
    this.#timer = setTimeout(this.attempt, pause);
    this.#turn("waiting", inWords(error));
  }

  /** A sync may tell that one is in, or let in. */
  #look = () => {
    if (this.membership === "join") this.#forget();
    else if (this.membership === "invite" && this.state === "asked") this.attempt();
  };

  #turn(state, reason = null) {
    this.state = state;
    this.reason = reason;
    this.session.changed();
  }

  /** Whoever does not want to wait any more. */
  giveUp() {
    const { session, invitation } = this;
    tell(session.node, session.client.getAccessToken(), "DELETE", `/pending_joins/${encodeURIComponent(invitation.roomId)}`).catch(() => {});
    if (this.membership === "knock") session.client.leave(invitation.roomId).catch(() => {});
    this.#forget();
  }

  #forget() {
    const { userId } = this.session;
    remember(KEY, kept().filter((one) => !isSame(one, userId, this.invitation.roomId)));
    running.delete(keyOf(this.session, this.invitation.roomId));
    this.end();
    this.session.changed();
  }

  end() {
    clearTimeout(this.#timer);
    removeEventListener("online", this.attempt);
    this.session.removeEventListener("change", this.#look);
  }
}
