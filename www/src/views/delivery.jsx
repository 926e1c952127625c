// The mark under a message of one's own: a clock, one tick at a relay, two ticks when it has arrived; and where exactly.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Deliveries } from "../delivery.js";
import { listOf } from "../format.js";
import { useChanges, useColumn } from "../hooks.js";
import { serverOf } from "../invitation.js";
import { Dialog } from "./dialog.jsx";
import { Icon } from "./icons.jsx";

const MARKS = {
  queued: { icon: "clock", name: "Waiting to be sent", place: "Waits here" },
  at_relay: { icon: "tick", name: "At a relay", place: "At a relay" },
  delivered: { icon: "ticks", name: "Delivered", place: "Delivered" },
};

/** @returns {Map<string, import("../delivery.js").Delivery>} for as long as the room is open */
export function useDeliveries(room) {
  const { session } = useColumn();
  const deliveries = useMemo(() => new Deliveries(session, room), [session, room]);
  useChanges(deliveries, "change");
  useEffect(() => {
    const end = new AbortController();
    deliveries.follow(end.signal);
    return () => end.abort();
  }, [deliveries]);
  return deliveries.byEvent;
}

/** A press, which is what a finger has for hovering, says which destinations. */
export function DeliveryMark({ room, delivery }) {
  const [open, setOpen] = useState(false);
  const mark = MARKS[delivery?.state];
  if (!mark) return null;
  const places = Object.entries(delivery.destinations).map(([server, { state, reason }]) => ({ server, state, reason, names: peopleOn(room, server) }));
  const words = places.map(({ names, state }) => `${names}: ${MARKS[state].place}`).join("\n");
  return (
    <>
      <button type="button" class={`delivery ${delivery.state}`} data-testid="delivery" data-state={delivery.state} title={words} aria-label={mark.name} onClick={() => setOpen(true)}>
        <Icon name={mark.icon} size={14} />
      </button>
      {open && <Places places={places} onClose={() => setOpen(false)} />}
    </>
  );
}

const peopleOn = (room, server) => {
  const people = room.getMembers().filter(({ userId }) => serverOf(userId) === server);
  return people.length ? listOf(people.map(({ rawDisplayName }) => rawDisplayName)) : server;
};

function Places({ places, onClose }) {
  return (
    <Dialog label="Where this message is" onClose={onClose}>
      <h2>Where this message is</h2>
      <ul class="plain stack">
        {places.map(({ server, names, state, reason }) => (
          <li key={server} class="row">
            <Icon name={MARKS[state].icon} size={18} />
            <span class="grow"><b>{names}</b> <span class="quiet">{MARKS[state].place}{reason && `: ${reason}`}</span><br /><span class="quiet breakable">{server}</span></span>
          </li>
        ))}
      </ul>
      <div class="row end"><button type="button" class="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}
