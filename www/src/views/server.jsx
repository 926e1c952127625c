// "Your server": the node laid open, for the curious.
import { useState } from "preact/hooks";
import { useAction, useAnswer, useChanges, useColumn } from "../hooks.js";
import { bytes, count, fullTime } from "../format.js";
import { localpartOf } from "../accounts.js";
import { logEntries, measure, recentRequests, status } from "../node.js";
import { Console } from "./console.jsx";
import { GatewayFact } from "./gateway.jsx";
import { EventGraph } from "./graph.jsx";
import { Panel } from "./panel.jsx";
import { Relays } from "./relays.jsx";
import { ErrorLine, Skeleton } from "./states.jsx";

const TABS = [
  { id: "overview", name: "Overview", Tab: Overview },
  { id: "relays", name: "Relays", Tab: Relays },
  { id: "requests", name: "Requests", Tab: Requests },
  { id: "graph", name: "Graph", Tab: EventGraph },
  { id: "log", name: "Log", Tab: Log },
  { id: "console", name: "Console", Tab: Console },
];
const REFRESH_MILLIS = 2000;
const LOG_ENTRIES = 60;

export function YourServer() {
  const [chosen, setChosen] = useState("overview");
  const { Tab } = TABS.find(({ id }) => id === chosen);
  return (
    <Panel title="Your server" testid="server-panel">
      <div class="tabs" role="tablist" aria-label="Your server" onKeyDown={(event) => moveTab(event, chosen, setChosen)}>
        {TABS.map(({ id, name }) => (
          <button key={id} id={`tab-${id}`} type="button" role="tab" aria-selected={id === chosen} tabIndex={id === chosen ? 0 : -1} data-testid={`tab-${id}`} onClick={() => setChosen(id)}>{name}</button>
        ))}
      </div>
      <div role="tabpanel" aria-labelledby={`tab-${chosen}`} class="tab-panel"><Tab /></div>
    </Panel>
  );
}

function moveTab(event, chosen, setChosen) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = TABS[(TABS.findIndex(({ id }) => id === chosen) + step + TABS.length) % TABS.length].id;
  setChosen(next);
  event.currentTarget.querySelector(`#tab-${next}`).focus();
}

/** An answer of the node with this account's token, asked again every two seconds. */
function useNode(question, key) {
  const { node, client } = useColumn();
  return useAnswer(() => question(node, client.getAccessToken()), key, REFRESH_MILLIS);
}

function Overview() {
  const { node } = useColumn();
  useChanges(node, "statechange");
  const { value, error } = useNode(status, "status");
  return (
    <>
      <dl class="facts">
        <Fact name="Name"><code class="breakable">{node.serverName}</code></Fact>
        <GatewayFact serverName={node.serverName} />
        <Fact name="State"><span class={`dot ${node.state}`} /> {node.state}</Fact>
        {value && (
          <>
            <Fact name="Started">{fullTime(value.started_at)}</Fact>
            <Fact name="Version">{value.version}</Fact>
            <Fact name="Log position">{value.log_position.toLocaleString()}</Fact>
            <Fact name="Holds">{count(value.rooms, "room")}, {count(value.users, "user")}</Fact>
          </>
        )}
      </dl>
      <StorageUse />
      {error ? <ErrorLine error={error} /> : value ? <Tables tables={value.tables} /> : <Skeleton rows={5} />}
    </>
  );
}

const Fact = ({ name, children }) => <div><dt>{name}</dt><dd>{children}</dd></div>;

function StorageUse() {
  const { node } = useColumn();
  const { value, error, again } = useAnswer(() => node.storage(), "storage");
  const [ask, busy] = useAction(async () => ({ granted: await node.requestPersistence() }));
  const [refused, setRefused] = useState(false);
  if (error) return <ErrorLine error={error} />;
  if (!value) return null;
  const request = async () => {
    const answer = await ask();
    setRefused(!answer?.granted);
    again();
  };
  return (
    <section class="storage" data-testid="storage" data-persisted={value.persisted}>
      {value.quota === undefined ? (
        <p class="quiet">This browser does not tell how much is stored in it.</p>
      ) : (
        <>
          <p><b>{bytes(value.usage)}</b> of {bytes(value.quota)} <span class="quiet">in this browser</span></p>
          <meter min="0" max={value.quota} value={value.usage} aria-label="Storage used" />
        </>
      )}
      {value.persisted ? (
        <p class="muted">Kept for good: the browser will not clear it by itself.</p>
      ) : (
        <>
          <p class="muted">Not kept for good: when space runs short, the browser may clear it without asking, and your rooms with it.</p>
          <button type="button" class="button small" data-testid="persist" disabled={busy} onClick={request}>Ask the browser to keep it</button>
          {refused && <p class="quiet">The browser said no for now. It says yes more readily to sites that are bookmarked or installed.</p>}
        </>
      )}
    </section>
  );
}

/** Rows are counted all the time; sizes take reading everything, and are measured when somebody asks. */
function Tables({ tables }) {
  const { node, client } = useColumn();
  const [sizes, setSizes] = useState({});
  const [weigh, busy, error] = useAction(async () => {
    const { tables: measured } = await measure(node, client.getAccessToken());
    setSizes(Object.fromEntries(measured.map(({ name, bytes: size }) => [name, size])));
  });
  return (
    <>
      <div class="scroll-x" role="region" aria-label="Tables" tabIndex={0}>
        <table>
          <thead><tr><th>Table</th><th class="number">Rows</th><th class="number">Size</th></tr></thead>
          <tbody>
            {tables.map(({ name, rows }) => (
              <tr key={name}><td>{name}</td><td class="number">{rows.toLocaleString()}</td><td class="number">{name in sizes ? bytes(sizes[name]) : "–"}</td></tr>
            ))}
          </tbody>
        </table>
      </div>
      {error && <ErrorLine error={error} />}
      <button type="button" class="button small" data-testid="measure" disabled={busy} onClick={weigh}>Measure the sizes</button>
    </>
  );
}

function Requests() {
  const { value, error } = useNode(recentRequests, "requests");
  if (error) return <ErrorLine error={error} />;
  if (!value) return <Skeleton rows={8} />;
  const shown = value.filter(({ path }) => !path.includes("/_inglenook/"));
  return (
    <ol class="requests plain" data-testid="requests">
      {shown.map(({ at, method, path, status: code, millis }, index) => (
        <li key={`${at} ${path} ${index}`} title={`${fullTime(at)}\n${path}`}>
          <span class={`code-${Math.floor(code / 100)}`}>{code}</span>
          <span class="ellipsis"><b>{method}</b> {shortPath(path)}</span>
          <span class="number">{duration(millis)}</span>
        </li>
      ))}
    </ol>
  );
}

/** Without what is the same everywhere, and with ids cut short. */
const shortPath = (path) =>
  decodeURIComponent(path.replace(/^.*\/_matrix\/(client|media)\//, "").replace(/\?.*/, "")).replace(/([!$][\w-]{6})[^/]+/g, "$1…").replace(/([@#][^/:]+):[^/]+/g, "$1");

/** The node's clock counts whole milliseconds. */
const duration = (millis) => (millis < 1 ? "< 1 ms" : millis < 1000 ? `${millis} ms` : `${(millis / 1000).toFixed(1)} s`);

/** The newest entries first. */
function Log() {
  const { client } = useColumn();
  const { value, error } = useNode((node, token) => logEntries(node, token, LOG_ENTRIES), "log");
  if (error) return <ErrorLine error={error} />;
  if (!value) return <Skeleton rows={8} />;
  return (
    <>
      <p class="muted">Everything that happens gets one position in one log. Writers append to it, and what you see follows it.</p>
      <ol class="log plain">
        {value.entries.toReversed().map((entry) => (
          <li key={entry.position}>
            <span class="number">{entry.position}</span> <b>{entry.kind.replace("_", " ")}</b>
            <span class="quiet ellipsis" title={entry.event_id ?? entry.user_id}>{about(client, entry)}</span>
          </li>
        ))}
      </ol>
    </>
  );
}

/** Where an entry belongs and what it is about, in words where this account knows them. */
function about(client, { room_id: roomId, event_id: eventId, user_id: userId }) {
  const room = client.getRoom(roomId);
  const event = room?.findEventById(eventId);
  const what = event ? `${event.getType()} by ${localpartOf(event.getSender())}` : userId ? localpartOf(userId) : eventId;
  return [room?.name ?? roomId, what].filter(Boolean).join(" · ");
}
