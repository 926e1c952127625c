// The page: starts the node, then shows one column, or two side by side, each a place of one account.
import { render } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { accountNamed, accounts, onAccountsChange } from "./accounts.js";
import { Column, useChanges } from "./hooks.js";
import { openNode } from "./node.js";
import { MOST_COLUMNS, hashOf, leadsOut, placesOf } from "./route.js";
import { unreadInAll } from "./rooms.js";
import { sessionOf } from "./session.js";
import { AccountColumn } from "./views/column.jsx";
import { FirstRun } from "./views/first-run.jsx";
import { NodeFailed, Starting } from "./views/states.jsx";
import { Notices } from "./views/notices.jsx";

function App() {
  const [opening, setOpening] = useState({});
  useEffect(() => {
    openNode().then(setOpening, (error) => setOpening({ error }));
  }, []);
  if (opening.error) return <NodeFailed error={opening.error} />;
  return opening.node ? <Columns node={opening.node} gateway={opening.gateway} /> : <Starting />;
}

function Columns({ node, gateway }) {
  const [places, goTo] = usePlaces();
  const [, renderAccounts] = useState();
  useLayoutEffect(() => onAccountsChange(() => renderAccounts({})), []);
  useChanges(node, "statechange");
  if (node.state === "failed") return <NodeFailed />;
  return (
    <main class="columns" data-columns={places.length}>
      {places.map((place, index) => (
        <OneColumn key={place.account ?? "join"} node={node} gateway={gateway} places={places} index={index} goTo={goTo} />
      ))}
      <Notices />
    </main>
  );
}

function OneColumn({ node, gateway, places, index, goTo }) {
  const place = places[index];
  const replaceAt = (change) => places.map((other, at) => (at === index ? change : other));
  const go = (change, options) => goTo(replaceAt({ ...place, ...change }), options);
  const beside = (other) => goTo([...places.slice(0, MOST_COLUMNS - 1), other]);
  const close = places.length > 1 ? () => goTo(places.filter((_, at) => at !== index)) : null;
  const account = place.account && accountNamed(place.account);
  if (!account) {
    return <FirstRun key={place.invitation} node={node} gateway={gateway} invitation={place.invitation} onDone={(next) => goTo(replaceAt(next), { replace: true })} onClose={close ?? closeToFirst(goTo)} />;
  }
  const session = sessionOf(node, account);
  const elsewhere = places.flatMap((other, at) => (at === index ? [] : [other.account]));
  return (
    <Column.Provider value={{ node, session, place, go, beside, close, elsewhere }}>
      <UnreadInTitle session={session} />
      <AccountColumn />
    </Column.Provider>
  );
}

/** From "add an account" back to the accounts that are there. */
function closeToFirst(goTo) {
  const [first] = accounts();
  return first && (() => goTo([{ account: first.localpart, view: "home" }]));
}

function UnreadInTitle({ session }) {
  useChanges(session, "change");
  const unread = unreadInAll(session.client);
  useEffect(() => {
    document.title = unread ? `(${unread}) Inglenook` : "Inglenook";
  }, [unread]);
  return null;
}

/** The places in the address bar, never none. */
function usePlaces() {
  const [places, setPlaces] = useState(currentPlaces);
  useLayoutEffect(() => {
    const follow = () => setPlaces(currentPlaces());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const goTo = (next, { replace = false } = {}) => {
    const hash = hashOf(next);
    if (hash === location.hash) return;
    // Who closes a panel goes back to where it was opened: the next step back must not open it again.
    if (history.state?.from === hash && leadsOut(places, next)) return history.back();
    if (replace) history.replaceState(history.state, "", hash);
    else history.pushState({ from: location.hash }, "", hash);
    setPlaces(currentPlaces());
  };
  return [places, goTo];
}

function currentPlaces() {
  const places = placesOf(location.hash);
  if (places.length) return places;
  const [first] = accounts();
  return [first ? { account: first.localpart, view: "home" } : { account: null, view: "join" }];
}

render(<App />, document.getElementById("app"));
