// Emoji to react with: the usual ones at once, more on demand.
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons.jsx";

const USUAL = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🔥"];
const MORE = [
  "👎", "👏", "🙏", "🙌", "💪", "🤝", "👀", "💯", "✅", "❌", "❓", "❗", "😀", "😊", "😉", "😍", "🥰", "😎", "🤔", "🙃", "😅", "😭",
  "😡", "🥳", "😴", "🤯", "🫠", "🫡", "🤷", "🚀", "⭐", "✨", "💡", "🎂", "☕", "🍕", "🌱", "🌞", "🌈", "🐛", "🛠️", "📌",
];

export function EmojiRow({ onPick, onClose }) {
  const [more, setMore] = useState(false);
  const element = useRef();
  useEffect(() => element.current.querySelector("button").focus(), []);
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    onClose();
  };
  return (
    <div class="emoji-row" ref={element} role="group" aria-label="React with" onKeyDown={onKeyDown}>
      {[...USUAL, ...(more ? MORE : [])].map((emoji) => (
        <button key={emoji} type="button" data-testid="emoji" data-emoji={emoji} onClick={() => onPick(emoji)}>{emoji}</button>
      ))}
      {!more && <button type="button" aria-label="More" title="More" onClick={() => setMore(true)}><Icon name="plus" /></button>}
    </div>
  );
}
