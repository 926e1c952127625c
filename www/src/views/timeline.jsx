// The scrolling timeline: keeps its place while things change above and below, loads what is older, and marks what was read.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { keepPosition, positionIn } from "../drafts.js";
import { useAction, useColumn } from "../hooks.js";
import { avatarOf, predecessorOf, topicOf } from "../rooms.js";
import { gistOf } from "../text.js";
import { isLate, isMessage, readersByKey, timelineItems } from "../timeline.js";
import { Avatar } from "./avatar.jsx";
import { useDeliveries } from "./delivery.jsx";
import { Icon } from "./icons.jsx";
import { TryAlone } from "./invite.jsx";
import { Message } from "./message.jsx";
import { Typing } from "./room.jsx";
import { ErrorLine } from "./states.jsx";
import { Uploads } from "./uploads.jsx";

const PAGE = 40;
/** Older messages are asked for when so little is left above. */
const NEAR_TOP = 800;
/** A finger's inaccuracy still counts as the bottom. */
const NEAR_BOTTOM = 48;

export function Timeline({ room, uploads, onReply, onEdit }) {
  const { me } = useColumn();
  const readUpTo = useUnreadLine(room);
  const [active, setActive] = useState(null);
  const items = timelineItems(room, me, readUpTo);
  const deliveries = useDeliveries(room);
  const readers = readersByKey(room, items, me);
  const { scroller, list, atBottom, onScroll, toBottom } = useKeptScroll(room, items, uploads.list.length);
  const [older, loading, error] = useOlder(room, scroller, items.length);
  useReadMarker(room, atBottom);
  const focused = active ?? items.findLast(({ kind }) => kind === "message")?.key;
  const jumpTo = async (eventId) => showMessage(list.current, eventId) || ((await older()), showMessage(list.current, eventId));
  return (
    <div class="timeline-frame">
      <div class="timeline" ref={scroller} onScroll={onScroll} data-testid="timeline">
        <div class="timeline-inner" ref={list} onKeyDown={moveByArrows} onPointerLeave={({ pointerType }) => pointerType === "mouse" && setActive(null)}>
          <Beginning room={room} loading={loading} error={error} again={older} />
          <ol class="plain" aria-label="Messages">
            {items.map((item) =>
              item.kind === "message" ? (
                <Message
                  key={item.key} room={room} item={item} readers={readers.get(item.key)} delivery={deliveries.get(item.event.getId())} active={active === item.key} focusable={focused === item.key}
                  setActive={setActive} onReply={onReply} onEdit={onEdit} jumpTo={jumpTo}
                />
              ) : (
                <Divider key={item.key} item={item} />
              ),
            )}
            <Uploads uploads={uploads} />
          </ol>
          <Alone room={room} />
        </div>
      </div>
      {!atBottom && (
        <button type="button" class="to-bottom" aria-label="To the newest message" onClick={toBottom}><Icon name="down" size={18} /></button>
      )}
      <Typing room={room} />
      <NewMessages room={room} />
    </div>
  );
}

function Divider({ item }) {
  if (item.kind === "day") return <li class="day"><span>{item.name}</span></li>;
  if (item.kind === "unread") return <li class="unread-line" data-testid="unread-line"><span>New</span></li>;
  return <li class="note" data-key={item.key} data-event-id={item.event.getId()}>{item.words}</li>;
}

/** The head of the timeline: more to come, or the room's beginning. */
function Beginning({ room, loading, error, again }) {
  const { session, client, go } = useColumn();
  if (error) return <ErrorLine error={error} again={again} />;
  if (loading || room.oldState.paginationToken) return <p class="quiet centred older" role="status">{loading ? "Reading older messages…" : ""}</p>;
  const before = predecessorOf(room);
  return (
    <header class="beginning">
      <Avatar session={session} id={room.roomId} name={room.name} mxc={avatarOf(room)} size={64} square />
      <h2>{room.name}</h2>
      <p class="muted">{topicOf(room) || "This is where the room begins."}</p>
      {client.getRoom(before)?.getMyMembership() === "join" && (
        <button type="button" class="link" data-testid="predecessor" onClick={() => go({ view: "room", roomId: before })}>Read the room that it replaced</button>
      )}
    </header>
  );
}

/** Whoever is alone in a room is offered company. */
function Alone({ room }) {
  const { go } = useColumn();
  if (room.getInvitedAndJoinedMemberCount() > 1) return null;
  return (
    <div class="alone">
      <button type="button" class="button" onClick={() => go({ panel: "invite" })}><Icon name="invite" size={18} /> Invite someone</button>
      <TryAlone />
    </div>
  );
}

/** Stays at the bottom when it was there, else keeps the message that one looks at where it is. */
function useKeptScroll(room, items, uploadCount) {
  const { me } = useColumn();
  const scroller = useRef();
  const list = useRef();
  const position = useRef(positionIn(me, room.roomId));
  const [atBottom, setAtBottom] = useState(position.current.stick);
  const restore = () => {
    const element = scroller.current;
    if (!element) return; // An observer may call once more after the room was left.
    if (position.current.stick) return void (element.scrollTop = element.scrollHeight);
    const anchor = keyed(list.current, position.current.key);
    if (anchor) element.scrollTop = anchor.offsetTop - position.current.offset;
  };
  const onScroll = () => {
    position.current = positionNow(scroller.current, list.current);
    keepPosition(me, room.roomId, position.current);
    setAtBottom(position.current.stick);
  };
  const toBottom = () => {
    position.current = { stick: true };
    restore();
  };
  useLayoutEffect(restore, [items.length, items.at(-1)?.key, items[0]?.key]);
  useEffect(() => uploadCount && toBottom(), [uploadCount]);
  useEffect(() => {
    const observer = new ResizeObserver(restore);
    observer.observe(list.current);
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  useOwnMessage(items, me, toBottom);
  return { scroller, list, atBottom, onScroll, toBottom };
}

/** Whoever sends a message wants to see it. */
function useOwnMessage(items, me, toBottom) {
  const last = items.at(-1);
  const sending = last?.event?.status && last.event.getSender() === me ? last.key : null;
  useLayoutEffect(() => {
    if (sending) toBottom();
  }, [sending]);
}

function positionNow(scroller, list) {
  if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BOTTOM) return { stick: true };
  const anchor = [...list.querySelectorAll("[data-key]")].find((element) => element.offsetTop + element.offsetHeight > scroller.scrollTop);
  return anchor ? { stick: false, key: anchor.dataset.key, offset: anchor.offsetTop - scroller.scrollTop } : { stick: true };
}

const keyed = (list, key) => key && list.querySelector(`[data-key="${CSS.escape(key)}"]`);

/** Loads what is older when the top comes near, and until the window is full. */
function useOlder(room, scroller, itemCount) {
  const { client } = useColumn();
  const [older, loading, error] = useAction(() => client.scrollback(room, PAGE));
  const look = () => {
    const more = room.oldState.paginationToken;
    if (more && !loading && !error && scroller.current.scrollTop < NEAR_TOP) older();
  };
  useEffect(look, [itemCount, loading]);
  useEffect(() => {
    const element = scroller.current;
    element.addEventListener("scroll", look, { passive: true });
    return () => element.removeEventListener("scroll", look);
  });
  return [older, loading, error];
}

/** After which message the line "New" stands: only for what came while nobody looked. */
function useUnreadLine(room) {
  const { me } = useColumn();
  const [after, setAfter] = useState(() => lineAfter(room, room.getEventReadUpTo(me), me));
  useEffect(() => {
    const look = () => setAfter((before) => (document.visibilityState === "hidden" ? newestIn(room) : lineAfter(room, before, me)));
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [room]);
  return after;
}

const newestIn = (room) => room.getLiveTimeline().getEvents().at(-1)?.getId() ?? null;

/** @returns {string|null} the event, when somebody else has written since */
function lineAfter(room, eventId, me) {
  const events = room.getLiveTimeline().getEvents();
  const at = events.findIndex((event) => event.getId() === eventId);
  return at >= 0 && events.slice(at + 1).some((event) => isMessage(event) && !isLate(event) && event.getSender() !== me) ? eventId : null;
}

/** Tells the room how far one has read, while its end is on the screen. */
function useReadMarker(room, atBottom) {
  const { client, me } = useColumn();
  const marked = useRef(null);
  const mark = () => {
    const last = room.getLiveTimeline().getEvents().findLast((event) => !event.status);
    const id = last?.getId();
    if (!id || !atBottom || document.visibilityState !== "visible" || marked.current === id) return;
    marked.current = id;
    if (room.getAccountData("m.fully_read")?.getContent().event_id === id) return;
    client.setRoomReadMarkers(room.roomId, id, last).catch(() => (marked.current = null));
  };
  useEffect(mark);
  useEffect(() => {
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  });
}

/** Says new messages aloud to those who listen instead of looking. */
function NewMessages({ room }) {
  const { me } = useColumn();
  const [words, setWords] = useState("");
  const last = room.getLiveTimeline().getEvents().findLast((event) => isMessage(event) && !isLate(event));
  const said = useRef(last?.getId());
  useEffect(() => {
    if (!last || last.getId() === said.current) return;
    said.current = last.getId();
    if (last.getSender() !== me) setWords(`${room.getMember(last.getSender())?.rawDisplayName ?? "Someone"}: ${gistOf(last)}`);
  });
  return <p class="hidden" role="status" aria-live="polite">{words}</p>;
}

/** Scrolls to a message that is loaded, and lights it for a moment. */
function showMessage(list, eventId) {
  const element = list.querySelector(`[data-event-id="${CSS.escape(eventId)}"]`);
  if (!element) return false;
  element.scrollIntoView({ block: "center" });
  element.classList.remove("lit");
  requestAnimationFrame(() => element.classList.add("lit"));
  return true;
}

/** Up and down go from message to message. */
function moveByArrows(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const message = document.activeElement?.closest("[data-testid=message]");
  if (!message || document.activeElement !== message) return;
  const all = [...event.currentTarget.querySelectorAll("[data-testid=message]")];
  const next = all[all.indexOf(message) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
