// One running matrix-js-sdk client for each account in use, and whether it is up to date with the node.
import {
  ClientEvent, Filter, HttpApiEvent, MatrixEventEvent, MatrixScheduler, RoomEvent, RoomMemberEvent, RoomStateEvent, UserEvent, createClient,
} from "matrix-js-sdk";
import { accounts, signIn, updateAccount } from "./accounts.js";
import { resumeJoining } from "./joining.js";

/** The SDK tells the console of every step that it takes; only what goes wrong is of interest there. */
const ignore = () => {};
const logger = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: (...words) => console.error(...words), getChild: () => logger };

/** Under the 30 s after which a browser ends an idle service worker. */
const POLL_MILLIS = 25_000;
const MESSAGES_AT_FIRST = 30;
/** Of a longer gap, the SDK takes up only what came after the newest message of one's own. */
const MESSAGES_LATER = 100;
const RETRY_MILLIS = 3000;
/** A browser may end the worker in the middle of anything; the next request wakes it up again. */
const RESEND_MILLIS = 300;

/** Whatever changes what is on the screen. */
const EVENTS = [
  ClientEvent.Room, ClientEvent.DeleteRoom, ClientEvent.AccountData,
  RoomEvent.Timeline, RoomEvent.TimelineReset, RoomEvent.LocalEchoUpdated, RoomEvent.Redaction, RoomEvent.RedactionCancelled,
  RoomEvent.Receipt, RoomEvent.Name, RoomEvent.Tags, RoomEvent.MyMembership, RoomEvent.UnreadNotifications, RoomEvent.AccountData,
  RoomStateEvent.Events, RoomMemberEvent.Typing, RoomMemberEvent.Membership, RoomMemberEvent.Name, MatrixEventEvent.Replaced,
  UserEvent.Presence, UserEvent.LastPresenceTs,
];

/** What got no answer is sent again, under its transaction ID, until there is one. */
const resending = () =>
  new MatrixScheduler((event, attempts, error) =>
    error.name === "ConnectionError" ? RESEND_MILLIS : MatrixScheduler.RETRY_BACKOFF_RATELIMIT(event, attempts, error),
  );

/** @type {Map<string, Session>} */
const sessions = new Map();

/** @returns {Session} the account's session, started when it is first asked for */
export function sessionOf(node, account) {
  const known = sessions.get(account.userId);
  if (known) return known;
  const session = new Session(node, account);
  sessions.set(account.userId, session);
  session.start();
  resumeJoining(session);
  return session;
}

/** Ends the session of an account that is being let go; the server forgets its device. */
export async function endSession(userId) {
  const session = sessions.get(userId);
  sessions.delete(userId);
  await session?.client.logout(true).catch(() => session.client.stopClient());
}

/** Emits `change`, at most once in a frame's time, for whatever changed. */
export class Session extends EventTarget {
  /** @type {"starting"|"ready"|"waiting"|"signed-out"} */
  state = "starting";

  constructor(node, account) {
    super();
    this.node = node;
    this.account = account;
    this.client = createClient({
      baseUrl: node.baseUrl,
      userId: account.userId,
      accessToken: account.accessToken,
      deviceId: account.deviceId,
      disableVoip: true,
      timelineSupport: true,
      logger,
      scheduler: resending(),
    });
    for (const event of EVENTS) this.client.on(event, this.changed);
    this.client.on(ClientEvent.Sync, this.synced);
    this.client.on(HttpApiEvent.SessionLoggedOut, this.signInAgain);
  }

  get userId() {
    return this.account.userId;
  }

  /** The profile's name; until the server has told it, the one that is kept here. */
  get name() {
    const name = this.client.getUser(this.userId)?.displayName;
    return name && name !== this.userId ? name : this.account.name;
  }

  get avatar() {
    return this.client.getUser(this.userId)?.avatarUrl ?? this.account.avatar;
  }

  start() {
    const filter = new Filter(this.userId);
    filter.setTimelineLimit(MESSAGES_LATER);
    return this.client.startClient({
      filter,
      initialSyncLimit: MESSAGES_AT_FIRST,
      pollTimeout: POLL_MILLIS,
      lazyLoadMembers: true,
    });
  }

  synced = (sync) => {
    // There are no calls here, and the SDK's listener for them complains of every room it has yet to meet.
    if (sync === "PREPARED") queueMicrotask(() => this.client.matrixRTC.stop());
    if (sync === "PREPARED" || sync === "SYNCING" || sync === "CATCHUP") this.state = "ready";
    else if (sync === "RECONNECTING" || sync === "ERROR") this.state = this.state === "starting" ? "starting" : "waiting";
    // As to a server across a network, the SDK would wait for seconds; this one wakes up with the next request.
    if (sync === "RECONNECTING") setTimeout(() => this.client.retryImmediately(), RESEND_MILLIS);
    this.keepProfile();
    this.changed();
  };

  /** The switcher shows an account's name and picture without a session. */
  keepProfile() {
    if (this.state === "ready") updateAccount(this.userId, { name: this.name, avatar: this.avatar });
  }

  /** The password is kept here, so that a token which the server dropped costs the person nothing. */
  signInAgain = async () => {
    if (this.signingIn || !accounts().some(({ userId }) => userId === this.userId)) return;
    this.signingIn = true;
    this.client.stopClient();
    try {
      this.account = await signIn(this.node, this.userId, this.account.password, this.account.deviceId);
      this.client.setAccessToken(this.account.accessToken);
      await this.start();
    } catch (error) {
      if (error.httpStatus === 403) this.state = "signed-out";
      else setTimeout(this.signInAgain, RETRY_MILLIS);
    }
    this.signingIn = false;
    this.changed();
  };

  changed = () => {
    if (this.pending) return;
    this.pending = setTimeout(() => {
      this.pending = null;
      this.dispatchEvent(new Event("change"));
    }, 16);
  };
}
