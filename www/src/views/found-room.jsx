// A room that was found, in the directory or by its address: what is told of it, and the way in.
import { useState } from "preact/hooks";
import { count } from "../format.js";
import { inWords, useAction, useColumn } from "../hooks.js";
import { PENDING, beginJoining } from "../joining.js";
import { untilMembership } from "../rooms.js";
import { Avatar } from "./avatar.jsx";
import { ErrorLine } from "./states.jsx";

const BUTTONS = { open: "Open", asked: "Asked", knock: "Ask to join", join: "Join" };
const INVITED_ONLY = "This room lets in only whom it has invited.";

/** `room` is as a directory lists it; `via` are servers that may let one in; `name` is what to call it where nothing is told. */
export function FoundRoom({ room, via = [], name = room.name ?? room.canonical_alias ?? room.room_id }) {
  const { session, client, go } = useColumn();
  const { step, act, busy, error } = useWayIn(room, via, name, () => go({ view: "room", roomId: room.room_id, panel: undefined }));
  const facts = [room.num_joined_members && count(room.num_joined_members, "member"), room.canonical_alias].filter((fact) => fact && fact !== name);
  return (
    <li class="public-room" data-testid="public-room" data-room-id={room.room_id}>
      <Avatar session={session} id={room.room_id} name={name} mxc={room.avatar_url} size={44} square />
      <div class="grow">
        <p class="person-name ellipsis">{name}</p>
        <p class="muted ellipsis">{room.topic ?? (room.join_rule ? "No topic" : "Nothing is told of it to those outside")}</p>
        <p class="quiet ellipsis">{facts.join(" · ")}</p>
        <ErrorLine error={error} />
      </div>
      <button type="button" class={`button small ${step === "open" ? "" : "primary"}`} data-testid="join-room" data-step={step} disabled={busy || step === "asked"} onClick={act} aria-label={`${BUTTONS[step]} ${name}`}>
        {busy && via.length > 0 ? "Asking…" : BUTTONS[step]}
      </button>
    </li>
  );
}

/** What the button does next. Whoever is refused may ask to be let in, unless it is known that the room takes no such requests. */
function useWayIn(room, via, name, open) {
  const { session, client } = useColumn();
  const [refused, setRefused] = useState(false);
  const roomId = room.room_id;
  const membership = client.getRoom(roomId)?.getMyMembership() ?? room.membership;
  const mayAsk = membership !== "invite" && (room.join_rule === "knock" || (refused && (room.join_rule ?? "knock_restricted") === "knock_restricted"));
  const step = { join: "open", knock: "asked" }[membership] ?? (mayAsk ? "knock" : "join");
  const [act, busy, error] = useAction(async () => {
    if (step === "open") return open();
    try {
      if (step === "knock") await client.knockRoom(roomId, { viaServers: via });
      else await client.joinRoom(roomId, { viaServers: via });
    } catch (failure) {
      if (failure.data?.[PENDING]) beginJoining(session, { roomId, roomName: name, via });
      else throw new Error(whyNot(failure, step, room));
      return open();
    }
    if (step === "knock") return untilMembership(client, roomId, "knock");
    await untilMembership(client, roomId, "join");
    open();
  });

  function whyNot(failure, step, { join_rule: rule }) {
    if (failure.httpStatus === 404) return via.length ? "None of the servers that were asked knows this room." : "This address does not say where the room is. Ask for a link to it.";
    if (failure.httpStatus !== 403) return inWords(failure);
    if (client.getRoom(roomId)?.getMyMembership() === "ban") return "You are banned from this room.";
    if (step === "knock") return `${INVITED_ONLY} (${inWords(failure)})`;
    setRefused(true);
    if (rule === "knock_restricted") return "You can ask to be let in.";
    return rule ? INVITED_ONLY : `${INVITED_ONLY} It may take a request to join.`;
  }

  return { step, act, busy, error };
}
