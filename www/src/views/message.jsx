// One message: who, what, which reactions, who has read it, and what can be done with it.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { EventStatus, MsgType } from "matrix-js-sdk";
import { useAnswer, useColumn } from "../hooks.js";
import { bytes, clock, colourOf, fullTime } from "../format.js";
import { boxFor, isShownAsImage, saveFile, useMedia } from "../media.js";
import { toggleReaction, versionsOf } from "../messages.js";
import { may } from "../power.js";
import { bodyOf, gistOf, isOnlyEmoji, partsOf } from "../text.js";
import { reactionsTo } from "../timeline.js";
import { Avatar } from "./avatar.jsx";
import { DeliveryMark } from "./delivery.jsx";
import { Confirm, Dialog } from "./dialog.jsx";
import { EmojiRow } from "./emoji.jsx";
import { Icon, IconButton } from "./icons.jsx";
import { attempt } from "./notices.jsx";
import { Code } from "./code.jsx";

const MOST_READERS = 4;

export function Message({ room, item, readers, delivery, active, focusable, setActive, onReply, onEdit, jumpTo }) {
  const { session, me } = useColumn();
  const [open, setOpen] = useState(null);
  const { event, first, last, late, key } = item;
  const own = event.getSender() === me;
  const member = room.getMember(event.getSender());
  const name = member?.name ?? event.getSender();
  const notice = event.getContent().msgtype === MsgType.Notice;
  const activate = () => setActive(key);
  const classes = ["message", own && !notice && "own", first && "first", last && "last", notice && "notice", active && "active", late && "late"];
  return (
    <li
      class={classes.filter(Boolean).join(" ")} data-testid="message" data-key={key} data-event-id={event.getId()} tabIndex={focusable ? 0 : -1}
      onPointerEnter={({ pointerType }) => pointerType === "mouse" && activate()} onFocusIn={activate} onClick={activate} aria-label={`${name}, ${clock(event.getTs())}`}
    >
      {!own && !notice && <span class="gutter">{last && <Avatar session={session} id={event.getSender()} name={name} mxc={member?.getMxcAvatarUrl()} size={32} />}</span>}
      <div class="message-body">
        {first && !own && !notice && <p class={`sender ink-${colourOf(event.getSender())}`}>{name}</p>}
        {late && first && <p class="late-mark" data-testid="late">came later than it was written</p>}
        <Bubble room={room} event={event} delivery={own && delivery} jumpTo={jumpTo} onHistory={() => setOpen("history")} />
        <Reactions room={room} event={event} />
        {open === "react" && <EmojiRow onPick={(emoji) => (setOpen(null), attempt(react(session, room, event, emoji)))} onClose={() => setOpen(null)} />}
        <SendStatus room={room} event={event} />
        <Readers room={room} readers={readers} />
        {active && !event.status && !event.isRedacted() && <Tools room={room} event={event} own={own} open={setOpen} onReply={onReply} onEdit={onEdit} />}
      </div>
      {open === "history" && <History event={event} onClose={() => setOpen(null)} />}
      {open === "source" && <Source event={event} onClose={() => setOpen(null)} />}
      {open === "redact" && (
        <Confirm title="Delete this message?" words="Its words are removed for everybody in the room. That cannot be undone." action="Delete" onClose={() => setOpen(null)} onConfirm={() => attempt(session.client.redactEvent(room.roomId, event.getId()))} />
      )}
    </li>
  );
}

function react(session, room, event, emoji) {
  const mine = reactionsTo(room, event, session.userId).find(({ key }) => key === emoji)?.mine;
  return mine ? undefined : toggleReaction(session.client, room.roomId, event, emoji);
}

function Tools({ room, event, own, open, onReply, onEdit }) {
  const { me } = useColumn();
  const editable = own && event.getContent().msgtype === MsgType.Text;
  const bar = useRef();
  // Under a finger the bar opens below the message, where the screen may end.
  useLayoutEffect(() => {
    if (matchMedia("(pointer: coarse)").matches) bar.current.scrollIntoView({ block: "nearest" });
  }, []);
  return (
    <div ref={bar} class="tools" role="toolbar" aria-label="Message actions">
      <IconButton icon="react" label="React" size={18} data-testid="react" onClick={() => open("react")} />
      <IconButton icon="reply" label="Reply" size={18} data-testid="reply" onClick={() => onReply(event)} />
      {editable && <IconButton icon="edit" label="Edit" size={18} data-testid="edit" onClick={() => onEdit(event)} />}
      {(own || may(room, me, "redact")) && <IconButton icon="trash" label="Delete" size={18} data-testid="redact" onClick={() => open("redact")} />}
      <IconButton icon="braces" label="The event itself" size={18} data-testid="source" onClick={() => open("source")} />
    </div>
  );
}

function Bubble({ room, event, delivery, jumpTo, onHistory }) {
  if (event.isRedacted()) return <div class="bubble deleted">Message deleted <Time event={event} /></div>;
  const { msgtype, info } = event.getContent();
  const image = msgtype === MsgType.Image && isShownAsImage(info?.mimetype ?? "image/png");
  const plain = bodyOf(event);
  const large = msgtype === MsgType.Text && !event.replyEventId && isOnlyEmoji(plain);
  return (
    <div class={`bubble ${image ? "picture" : ""} ${large ? "large" : ""} ${event.status ? "sending" : ""}`}>
      {event.replyEventId && <Quote room={room} eventId={event.replyEventId} jumpTo={jumpTo} />}
      {image ? <Picture event={event} /> : msgtype === MsgType.Text || msgtype === MsgType.Notice || msgtype === MsgType.Emote ? <Words room={room} event={event} /> : <FileCard event={event} />}
      <Time event={event} onHistory={onHistory}><DeliveryMark room={room} delivery={delivery} /></Time>
    </div>
  );
}

function Time({ event, onHistory, children }) {
  const edited = event.replacingEvent();
  return (
    <span class="stamp">
      {edited && !event.isRedacted() && <button type="button" class="edited" data-testid="edited" title="What it said before" onClick={onHistory}>edited</button>}
      <time dateTime={event.getDate()?.toISOString()} title={fullTime(event.getTs())}>{clock(event.getTs())}</time>
      {children}
    </span>
  );
}

function Words({ room, event }) {
  const names = (event.getContent()["m.mentions"]?.user_ids ?? []).flatMap((userId) => {
    const name = room.getMember(userId)?.rawDisplayName;
    return name ? [`@${name}`] : [];
  });
  const emote = event.getContent().msgtype === MsgType.Emote;
  const body = emote ? event.getContent().body : bodyOf(event);
  return (
    <span class="words" data-testid="body">
      {emote && <b>{room.getMember(event.getSender())?.rawDisplayName} </b>}
      {partsOf(body, names).map((part, index) => <Part key={index} {...part} />)}
    </span>
  );
}

function Part({ kind, text }) {
  if (kind === "link") return <a href={text} target="_blank" rel="noreferrer noopener">{text}</a>;
  if (kind === "code") return <code>{text}</code>;
  if (kind === "block") return <pre><code>{text}</code></pre>;
  if (kind === "mention") return <span class="mention">{text}</span>;
  return text;
}

/** The message that is replied to: from the timeline, or else from the server. */
function Quote({ room, eventId, jumpTo }) {
  const { client } = useColumn();
  const known = room.findEventById(eventId);
  const fetched = useAnswer(async () => known ?? client.getEventMapper()(await client.fetchRoomEvent(room.roomId, eventId)), eventId);
  const event = known ?? fetched.value;
  const sender = event?.getSender();
  const words = !event ? (fetched.error ? "A message that is not here" : "…") : event.isRedacted() ? "Message deleted" : gistOf(event);
  return (
    <button type="button" class="quote" onClick={() => jumpTo(eventId)}>
      {sender && <span class={`sender ink-${colourOf(sender)}`}>{room.getMember(sender)?.name ?? sender}</span>}
      <span class="quote-words">{words}</span>
    </button>
  );
}

function Picture({ event }) {
  const { session } = useColumn();
  const [large, setLarge] = useState(false);
  const { url: mxc, info = {}, body } = event.getContent();
  const { url, error, again } = useMedia(session, mxc, boxFor(info));
  const size = shownSize(info);
  return (
    <>
      <button type="button" class="picture-button" style={{ width: `${size.width}px`, aspectRatio: `${size.width} / ${size.height}` }} aria-label={`Image: ${body}`} onClick={() => (error ? again() : setLarge(true))}>
        {url && <img src={url} alt={body} />}
        {error && <span class="quiet">{error} Press to try again.</span>}
      </button>
      {large && <LargePicture mxc={mxc} body={body} onClose={() => setLarge(false)} />}
    </>
  );
}

function LargePicture({ mxc, body, onClose }) {
  const { session } = useColumn();
  const { url } = useMedia(session, mxc);
  return (
    <Dialog label={body} onClose={onClose} class="viewer">
      {url && <img src={url} alt={body} />}
      <div class="row viewer-tools">
        <IconButton icon="archive" label="Save" onClick={() => attempt(saveFile(session, mxc, body))} />
        <IconButton icon="close" label="Close" onClick={onClose} />
      </div>
    </Dialog>
  );
}

const LONGEST_SIDE = { width: 340, height: 320 };

/** The size an image will have, known before its bytes are. */
function shownSize({ w, h }) {
  if (!(w > 0 && h > 0)) return { width: 240, height: 180 };
  const scale = Math.min(1, LONGEST_SIDE.width / w, LONGEST_SIDE.height / h);
  return { width: Math.max(48, Math.round(w * scale)), height: Math.max(32, Math.round(h * scale)) };
}

function FileCard({ event }) {
  const { session } = useColumn();
  const { url, body, filename, info } = event.getContent();
  if (!url) return <span class="words muted">{body || "A message of a kind that is not shown here"}</span>;
  return (
    <button type="button" class="file" onClick={() => attempt(saveFile(session, url, filename ?? body))}>
      <Icon name="file" size={24} />
      <span><span class="file-name">{filename ?? body}</span><span class="quiet">{info?.size ? bytes(info.size) : "File"}</span></span>
    </button>
  );
}

function Reactions({ room, event }) {
  const { client, me } = useColumn();
  const reactions = reactionsTo(room, event, me);
  if (!reactions.length || event.isRedacted()) return null;
  const nameOf = (userId) => room.getMember(userId)?.rawDisplayName ?? userId;
  return (
    <ul class="reactions plain">
      {reactions.map(({ key, senders, mine }) => (
        <li key={key}>
          <button type="button" class="reaction" data-testid="reaction" data-key-emoji={key} aria-pressed={Boolean(mine)} title={senders.map(nameOf).join(", ")} onClick={() => attempt(toggleReaction(client, room.roomId, event, key, mine))}>
            {key} <span>{senders.length}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function SendStatus({ room, event }) {
  const { client } = useColumn();
  if (event.status !== EventStatus.NOT_SENT) return null;
  return (
    <p class="not-sent" role="alert" data-testid="not-sent">
      <Icon name="alert" size={14} /> Not sent.
      <button type="button" class="link" data-testid="retry" onClick={() => attempt(client.resendEvent(event, room))}>Try again</button>
      <button type="button" class="link" onClick={() => client.cancelPendingEvent(event)}>Delete</button>
    </p>
  );
}

function Readers({ room, readers }) {
  const { session } = useColumn();
  if (!readers?.length) return null;
  const members = readers.map((userId) => ({ userId, member: room.getMember(userId) }));
  const names = members.map(({ userId, member }) => member?.rawDisplayName ?? userId).join(", ");
  return (
    <p class="readers" title={`Read by ${names}`} data-testid="readers">
      <span class="hidden">Read by {names}</span>
      {members.slice(0, MOST_READERS).map(({ userId, member }) => (
        <Avatar key={userId} session={session} id={userId} name={member?.rawDisplayName ?? userId} mxc={member?.getMxcAvatarUrl()} size={16} />
      ))}
      {members.length > MOST_READERS && <span class="quiet">+{members.length - MOST_READERS}</span>}
    </p>
  );
}

function History({ event, onClose }) {
  const { client } = useColumn();
  const { value, error } = useAnswer(() => versionsOf(client, event), event.getId());
  return (
    <Dialog label="Versions of this message" onClose={onClose}>
      <h2>What it said before</h2>
      {error && <p class="muted">{error}</p>}
      <ol class="plain versions">
        {value?.map(({ time, body }) => <li key={time}><time class="quiet">{fullTime(time)}</time><p>{body}</p></li>)}
      </ol>
      <div class="row end"><button type="button" class="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}

function Source({ event, onClose }) {
  return (
    <Dialog label="The event itself" onClose={onClose} class="wide">
      <h2>The event itself</h2>
      <Code value={event.event} />
      <div class="row end"><button type="button" class="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}
