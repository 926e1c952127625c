// What is shown when there is nothing to show: starting, failed, empty, waiting.
import { useEffect, useState } from "preact/hooks";
import { Hearth, Icon } from "./icons.jsx";

/** Below this, a sign of waiting would only flicker. */
const PATIENCE_MILLIS = 400;

export function Starting() {
  return (
    <Waiting>
      <main class="screen">
        <Hearth />
        <p class="muted" role="status">Starting your server…</p>
      </main>
    </Waiting>
  );
}

/** Shows its children only when there is something to wait for. */
export function Waiting({ children }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MILLIS);
    return () => clearTimeout(timer);
  }, []);
  return late ? children : null;
}

const REASONS = {
  "no-service-worker": {
    title: "This window cannot hold a server",
    words: "The server runs in a service worker, and this browser has none here. In Firefox a private window may be the cause: open this page in an ordinary window.",
  },
  "no-indexeddb": {
    title: "There is nowhere to keep your messages",
    words: "The server keeps everything in this browser's IndexedDB, which is switched off here. A private window or a strict setting may be the cause: open this page in an ordinary window.",
  },
  "insecure-context": {
    title: "This address is not secure enough",
    words: "Browsers start service workers only on https or on localhost. Open this page with https.",
  },
  blocked: {
    title: "The server was kept from starting",
    words: "Something in this browser (a setting, an extension, a policy) does not allow service workers or storage for this site. Allow it for this site, and try again.",
  },
};

const UNKNOWN = { title: "Your server did not start", words: "Nothing is lost: what was kept is still in this browser." };

export function NodeFailed({ error }) {
  const { title, words } = REASONS[error?.reason] ?? UNKNOWN;
  return (
    <main class="screen" role="alert" data-testid="node-failed" data-reason={error?.reason}>
      <Hearth cold />
      <h1>{title}</h1>
      <p class="muted measure">{words}</p>
      {error && <p class="quiet measure">{error.message}</p>}
      <button class="button primary" onClick={() => location.reload()}>Try again</button>
    </main>
  );
}

export function Empty({ icon, title, children }) {
  return (
    <div class="empty">
      {icon && <span class="empty-icon"><Icon name={icon} size={28} /></span>}
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** A calm line for what cannot be done now. */
export function ErrorLine({ error, again }) {
  if (!error) return null;
  return (
    <p class="error-line" role="alert">
      <Icon name="alert" size={16} /> <span>{error}</span>
      {again && <button type="button" class="link" onClick={again}>Try again</button>}
    </p>
  );
}

/** Grey shapes in the place of what is being read. */
export function Skeleton({ rows = 4 }) {
  return (
    <Waiting>
      <div class="skeleton" aria-hidden="true">
        {Array.from({ length: rows }, (_, row) => <span key={row} />)}
      </div>
    </Waiting>
  );
}
