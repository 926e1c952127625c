// The relays under "your server": how each stands, and adding, removing and ordering them.
import { useState } from "preact/hooks";
import { useAction, useAnswer, useColumn } from "../hooks.js";
import { clock } from "../format.js";
import { chooseRelays, limitsInWords, moved, relayUrl, relaysOf } from "../relays.js";
import { LostGateway, gatewayInWords } from "./gateway.jsx";
import { IconButton } from "./icons.jsx";
import { ErrorLine, Skeleton } from "./states.jsx";

const REFRESH_MILLIS = 1000;

export function Relays() {
  const { node, client } = useColumn();
  const token = client.getAccessToken();
  const { value, error, again } = useAnswer(() => relaysOf(node, token), "relays", REFRESH_MILLIS);
  const [choose, busy, refusal] = useAction(async (change) => {
    await chooseRelays(node, token, change(value.map(({ url }) => url)));
    again();
    return true;
  });
  if (!value) return error ? <ErrorLine error={error} /> : <Skeleton rows={3} />;
  return (
    <>
      <p class="muted">Nobody can call a browser, so your server keeps a line open to its relays: others reach it there, and what they send while it is away waits for it. Everything is signed; a relay cannot change it.</p>
      {value.length === 0 && <p class="muted" data-testid="no-relays">None is chosen. Everything works in this browser, and nobody elsewhere can reach you.</p>}
      <LostGateway serverName={node.serverName} relays={value} />
      <ol class="plain relays">
        {value.map((relay, index) => (
          <Relay key={relay.url} relay={relay} serverName={node.serverName} busy={busy} last={index === value.length - 1} first={index === 0} move={(by) => choose((urls) => moved(urls, index, by))} remove={() => choose((urls) => urls.toSpliced(index, 1))} />
        ))}
      </ol>
      <ErrorLine error={refusal ?? error} />
      <NewRelay busy={busy} add={(url) => choose((urls) => [...new Set([...urls, url])])} />
    </>
  );
}

function Relay({ relay, serverName, busy, first, last, move, remove }) {
  const host = new URL(relay.url).host;
  return (
    <li class="relay" data-testid="relay" data-state={relay.state} data-url={relay.url}>
      <span class={`dot ${relay.state}`} />
      <div class="grow">
        <p class="breakable"><b>{host}</b></p>
        <p class="quiet" data-testid="relay-state">{standing(relay)}</p>
        {relay.limits && <p class="quiet">{limitsInWords(relay.limits)}</p>}
        {relay.limits?.gateway && <p class="quiet breakable" data-testid="relay-gateway">{gatewayInWords(relay.limits.gateway, serverName)}</p>}
      </div>
      <div class="row tight">
        {!first && <IconButton icon="up" size={16} label={`Try ${host} earlier`} disabled={busy} data-testid="relay-up" onClick={() => move(-1)} />}
        {!last && <IconButton icon="down" size={16} label={`Try ${host} later`} disabled={busy} data-testid="relay-down" onClick={() => move(1)} />}
        <IconButton icon="trash" size={16} label={`Remove ${host}`} disabled={busy} data-testid="relay-remove" onClick={remove} />
      </div>
    </li>
  );
}

function standing({ state, since, until, reason }) {
  if (state === "attached") return `Connected since ${clock(since)}`;
  if (state === "connecting") return "Connecting…";
  if (state === "superseded") return "Another place holds this server's key, and the relay's line with it: a copy of it runs elsewhere. This one leaves it the line for now.";
  return `Not connected, tried again at ${clock(until)}: ${reason}`;
}

function NewRelay({ busy, add }) {
  const [typed, setTyped] = useState("");
  const [submit, , error] = useAction(async (event) => {
    event.preventDefault();
    if (await add(relayUrl(typed.trim()))) setTyped("");
  });
  return (
    <form class="stack" onSubmit={submit}>
      <label class="field">
        <span>Another relay</span>
        <input data-testid="relay-url" value={typed} onInput={({ target }) => setTyped(target.value)} placeholder="https://relay.example.org" inputMode="url" autoCapitalize="none" autoComplete="off" spellcheck={false} required />
      </label>
      <ErrorLine error={error} />
      <button class="button" data-testid="relay-add" disabled={busy || typed.trim() === ""}>Add</button>
    </form>
  );
}
