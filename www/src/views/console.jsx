// A console for the client-server API: any request, with this account's token, and what the node answers.
import { useState } from "preact/hooks";
import { useAction, useColumn } from "../hooks.js";
import { request } from "../node.js";
import { Code } from "./code.jsx";
import { ErrorLine } from "./states.jsx";

const METHODS = ["GET", "PUT", "POST", "DELETE"];

const examples = (me, roomId) => [
  "/_matrix/client/versions",
  "/_matrix/client/v3/account/whoami",
  "/_matrix/client/v3/joined_rooms",
  "/_matrix/client/v3/capabilities",
  `/_matrix/client/v3/profile/${encodeURIComponent(me)}`,
  ...(roomId ? [`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state`, `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=5`] : []),
  "/_matrix/client/v3/sync?timeout=0",
];

export function Console() {
  const { node, client, me, place } = useColumn();
  const [method, setMethod] = useState("GET");
  const [path, setPath] = useState("/_matrix/client/v3/account/whoami");
  const [body, setBody] = useState("{}");
  const [answer, setAnswer] = useState(null);
  const withBody = method === "PUT" || method === "POST";
  const [send, busy, error] = useAction(async (event) => {
    event.preventDefault();
    setAnswer(await request(node, client.getAccessToken(), method, path, withBody ? body : null));
  });
  return (
    <form class="stack" onSubmit={send}>
      <input class="mono" aria-label="Path" data-testid="console-path" list="console-paths" value={path} onInput={({ target }) => setPath(target.value)} pattern="/.*" spellcheck={false} required />
      <datalist id="console-paths">{examples(me, place.roomId).map((example) => <option key={example} value={example} />)}</datalist>
      <div class="row">
        <select aria-label="Method" value={method} onChange={({ target }) => setMethod(target.value)}>{METHODS.map((name) => <option key={name}>{name}</option>)}</select>
        <button class="button primary grow" data-testid="console-send" disabled={busy}>{busy ? "Waiting…" : "Send"}</button>
      </div>
      {withBody && <label class="field"><span>Body</span><textarea class="mono" rows={4} value={body} onInput={({ target }) => setBody(target.value)} spellcheck={false} /></label>}
      <ErrorLine error={error} />
      {answer && (
        <section class="stack tight" aria-live="polite" data-testid="console-answer">
          <p class="row"><span class={`tag code-${Math.floor(answer.status / 100)}`}>{answer.status}</span> <span class="quiet">{answer.millis.toFixed(1)} ms</span></p>
          <Code value={answer.body} />
        </section>
      )}
    </form>
  );
}
