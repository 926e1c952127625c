// Naming people in a message: the list that opens after an @, and who is named in what was written.
import { useState } from "preact/hooks";
import { useColumn } from "../hooks.js";
import { Avatar } from "./avatar.jsx";

const MOST_SHOWN = 6;

/** @returns {string|null} what stands between the last @ and the cursor */
export function mentionBefore(box) {
  return /(?:^|\s)@([^\s@]{0,32})$/.exec(box.value.slice(0, box.selectionStart))?.[1] ?? null;
}

/** @returns {{userId: string, name: string}[]} the members whose names follow an @ in the words */
export function mentionedIn(room, body) {
  if (!body.includes("@")) return [];
  return room.getJoinedMembers().map(({ userId, rawDisplayName: name }) => ({ userId, name })).filter(({ name }) => body.includes(`@${name}`));
}

export function useMentions(room, me, text, setText, box) {
  const [stem, look] = useState(null);
  const [at, setAt] = useState(0);
  const found = stem === null ? [] : candidates(room, me, stem.toLowerCase());
  const choose = (member) => {
    const cursor = box.current.selectionStart;
    const before = text.slice(0, cursor - stem.length);
    setText(`${before}${member.rawDisplayName} ${text.slice(cursor)}`);
    look(null);
    box.current.focus();
  };
  /** @returns {boolean} whether the key was for the list */
  const onKeyDown = (event) => {
    if (!found.length) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((at + step + found.length) % found.length);
    else if (event.key === "Enter" || event.key === "Tab") choose(found[Math.min(at, found.length - 1)]);
    else if (event.key === "Escape") look(null);
    else return false;
    event.preventDefault();
    return true;
  };
  return { found, at, choose, onKeyDown, look: (stem) => (setAt(0), look(stem)) };
}

function candidates(room, me, stem) {
  const members = room.getJoinedMembers().filter(({ userId }) => userId !== me);
  return members.filter(({ rawDisplayName: name, userId }) => name.toLowerCase().startsWith(stem) || userId.slice(1).startsWith(stem)).slice(0, MOST_SHOWN);
}

export function MentionList({ mentions }) {
  const { session } = useColumn();
  if (!mentions.found.length) return null;
  return (
    <ul class="mention-list plain" role="listbox" aria-label="People">
      {mentions.found.map((member, index) => (
        <li key={member.userId} role="option" aria-selected={index === mentions.at}>
          <button type="button" class="choice" tabIndex={-1} onClick={() => mentions.choose(member)}>
            <Avatar session={session} id={member.userId} name={member.rawDisplayName} mxc={member.getMxcAvatarUrl()} size={24} />
            {member.rawDisplayName} <span class="quiet ellipsis">{member.userId}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}
