// Ctrl+K: everywhere one can go, found by a few letters.
import { useState } from "preact/hooks";
import { accounts } from "../accounts.js";
import { addressIn, textOf } from "../address.js";
import { useColumn } from "../hooks.js";
import { avatarOf, roomSections } from "../rooms.js";
import { Avatar } from "./avatar.jsx";
import { Dialog } from "./dialog.jsx";
import { Icon } from "./icons.jsx";

const MOST_SHOWN = 9;

export function Switcher({ onClose }) {
  const { go } = useColumn();
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const destinations = useDestinations().filter(({ name }) => name.toLowerCase().includes(typed.trim().toLowerCase()));
  const found = [...destinationsByAddress(typed), ...destinations].slice(0, MOST_SHOWN);
  const choose = (destination) => {
    onClose();
    if (destination) go(destination.change);
  };
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") choose(found[at]);
    else if (step && found.length) setAt((at + step + found.length) % found.length);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog label="Go to" onClose={onClose} class="switcher">
      <input
        data-testid="switcher" value={typed} placeholder="Go to a room, an account, a page…" aria-label="Go to" role="combobox" aria-expanded="true" aria-controls="destinations"
        aria-activedescendant={found.length ? `destination-${at}` : undefined} onInput={({ target }) => (setTyped(target.value), setAt(0))} onKeyDown={onKeyDown} autofocus
      />
      <ul id="destinations" class="plain" role="listbox" aria-label="Destinations">
        {found.map((destination, index) => (
          <li key={destination.id} id={`destination-${index}`} role="option" aria-selected={index === at} onPointerMove={() => setAt(index)} onClick={() => choose(destination)}>
            {destination.picture} <span class="grow ellipsis">{destination.name}</span> <span class="quiet">{destination.kind}</span>
          </li>
        ))}
        {found.length === 0 && <li class="muted centred">Nothing of that name</li>}
      </ul>
    </Dialog>
  );
}

const clear = { roomId: undefined, address: undefined, panel: undefined };
const page = (icon, name, change) => ({ id: name, name, kind: "Page", picture: <Icon name={icon} size={22} />, change });

/** What was typed or pasted may be the address of a room elsewhere. */
function destinationsByAddress(typed) {
  const address = addressIn(typed);
  return address ? [{ ...page("compass", address.room, { ...clear, view: "explore", address: textOf(address) }), kind: "Look for it" }] : [];
}

function useDestinations() {
  const { session, client, elsewhere } = useColumn();
  const rooms = roomSections(client).flatMap((section) => section.rooms);
  return [
    ...rooms.map((room) => ({
      id: room.roomId, name: room.name, kind: room.getMyMembership() === "invite" ? "Invitation" : "Room", change: { view: "room", roomId: room.roomId, panel: undefined },
      picture: <Avatar session={session} id={room.roomId} name={room.name} mxc={avatarOf(room)} size={26} square />,
    })),
    ...accounts().filter(({ userId, localpart }) => userId !== session.userId && !elsewhere.includes(localpart)).map(({ userId, name, localpart, avatar }) => ({
      id: userId, name, kind: "Account", change: { account: localpart, view: "home", ...clear }, picture: <Avatar session={session} id={userId} name={name} mxc={avatar} size={26} />,
    })),
    page("plus", "New room", { view: "create", ...clear }),
    page("compass", "Find a room by name, address or link", { view: "explore", ...clear }),
    page("edit", "Your profile", { view: "profile", ...clear }),
    page("server", "Your server", { panel: "server" }),
  ];
}
