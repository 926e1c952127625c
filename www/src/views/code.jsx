// JSON to read: indented, scrolling by itself, with a button that copies it.
import { IconButton } from "./icons.jsx";
import { notify } from "./notices.jsx";

export function Code({ value }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const copy = () => navigator.clipboard.writeText(text).then(() => notify("Copied"));
  return (
    <div class="code">
      <IconButton icon="copy" label="Copy" size={16} onClick={copy} />
      <pre tabIndex={0}><code>{text}</code></pre>
    </div>
  );
}
