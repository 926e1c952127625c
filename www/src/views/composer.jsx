// Where one writes: draft kept, Enter sends, Shift+Enter breaks the line, up edits the last message, @ names a person.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { draftOf, keepDraft } from "../drafts.js";
import { useColumn } from "../hooks.js";
import { editText, sendText } from "../messages.js";
import { bodyOf, gistOf } from "../text.js";
import { lastOwnMessage } from "../timeline.js";
import { IconButton } from "./icons.jsx";
import { MentionList, mentionBefore, mentionedIn, useMentions } from "./mentions.jsx";

const TYPING_MILLIS = 20_000;
/** Typing is told again well before the last word of it runs out. */
const TYPING_AGAIN_MILLIS = 8_000;
const TALLEST = 180;

export function Composer({ room, intent, setIntent, uploads }) {
  const { client, me } = useColumn();
  const editing = intent?.edit;
  const [text, setText] = useState(() => (editing ? bodyOf(editing) : draftOf(me, room.roomId)));
  const box = useRef();
  const tellTyping = useTyping(room);
  const mentions = useMentions(room, me, text, setText, box);
  useGrowing(box, text);
  useEffect(() => {
    // Where there is no keyboard, the focus would bring one up over the room.
    if (intent || matchMedia("(pointer: fine)").matches) box.current.focus({ preventScroll: true });
  }, [intent]);
  const write = (value) => {
    setText(value);
    if (!editing) keepDraft(me, room.roomId, value);
    tellTyping(value !== "");
  };
  const leaveIntent = () => setIntent(null);
  const send = () => {
    const body = text.trim();
    if (body === "") return;
    const mentioned = mentionedIn(room, body);
    const sent = editing ? editText(client, room.roomId, editing, body, mentioned) : sendText(client, room.roomId, body, mentioned, intent?.reply);
    sent.catch(() => {}); // The timeline shows what was not sent, and offers to try again.
    write("");
    setIntent(null);
  };
  const onKeyDown = (event) => {
    if (event.isComposing || mentions.onKeyDown(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && intent) {
      event.preventDefault();
      leaveIntent();
    } else if (event.key === "ArrowUp" && text === "" && !intent) {
      const last = lastOwnMessage(room, me);
      if (last) {
        event.preventDefault();
        setIntent({ edit: last });
      }
    }
  };
  const onPaste = (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    uploads.add(event.clipboardData.files);
  };
  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      {intent && <Intent room={room} intent={intent} onClose={leaveIntent} />}
      <MentionList mentions={mentions} />
      <div class="composer-row">
        <AttachButton uploads={uploads} />
        <textarea
          ref={box} data-testid="composer" rows={1} value={text} placeholder={`Message ${room.name}`} aria-label={`Message ${room.name}`}
          onInput={({ target }) => (write(target.value), mentions.look(mentionBefore(target)))} onKeyDown={onKeyDown} onPaste={onPaste}
          enterKeyHint="send"
        />
        <IconButton class="send" icon={editing ? "check" : "send"} label={editing ? "Save the change" : "Send"} data-testid="send" type="submit" disabled={text.trim() === ""} />
      </div>
    </form>
  );
}

function Intent({ room, intent, onClose }) {
  const event = intent.reply ?? intent.edit;
  const name = room.getMember(event.getSender())?.rawDisplayName ?? event.getSender();
  return (
    <div class="intent">
      <div class="grow">
        <p class="intent-name">{intent.reply ? `Reply to ${name}` : "Edit your message"}</p>
        <p class="quiet ellipsis">{gistOf(event)}</p>
      </div>
      <IconButton icon="close" size={16} label={intent.reply ? "Do not reply" : "Leave it as it is"} onClick={onClose} />
    </div>
  );
}

function AttachButton({ uploads }) {
  const input = useRef();
  const add = ({ target }) => {
    uploads.add(target.files);
    target.value = "";
  };
  return (
    <>
      <input ref={input} type="file" multiple hidden data-testid="file-input" onChange={add} />
      <IconButton icon="attach" label="Send an image or a file" data-testid="attach" onClick={() => input.current.click()} />
    </>
  );
}

/** As tall as its words, up to a limit. */
function useGrowing(box, text) {
  useLayoutEffect(() => {
    const { style } = box.current;
    style.height = "";
    // A placeholder that is too long is cut short, and adds no line.
    if (text !== "") style.height = `${Math.min(box.current.scrollHeight, TALLEST)}px`;
  }, [text]);
}

/** Tells the room that one writes, not at every key. */
function useTyping(room) {
  const { client } = useColumn();
  const toldAt = useRef(0);
  const tell = (typing) => {
    if (typing ? Date.now() - toldAt.current < TYPING_AGAIN_MILLIS : toldAt.current === 0) return;
    toldAt.current = typing ? Date.now() : 0;
    client.sendTyping(room.roomId, typing, TYPING_MILLIS).catch(() => {}); // Nobody misses one of these.
  };
  useEffect(() => () => tell(false), []);
  return tell;
}
