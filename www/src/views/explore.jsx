// The public rooms of this server: searched, paged, joined.
import { useEffect, useState } from "preact/hooks";
import { focused, useAction, useColumn } from "../hooks.js";
import { count } from "../format.js";
import { enter } from "../rooms.js";
import { Avatar } from "./avatar.jsx";
import { Page } from "./panel.jsx";
import { Empty, ErrorLine, Skeleton } from "./states.jsx";

const PAGE = 20;
const PAUSE_MILLIS = 200;
/** Rooms come and change while one looks. */
const REFRESH_MILLIS = 3000;

export function Explore() {
  const [term, setTerm] = useState("");
  const { rooms, more, error, next } = usePublicRooms(term);
  return (
    <Page title="Public rooms">
      <label class="field"><span class="hidden">Search</span><input type="search" data-testid="directory-search" value={term} placeholder="Search by name, topic or address" onInput={({ target }) => setTerm(target.value)} ref={focused} /></label>
      <ErrorLine error={error} again={next} />
      {!rooms && !error && <Skeleton rows={5} />}
      {rooms?.length === 0 && <Empty icon="compass" title={term ? "Nothing of that name" : "No public rooms yet"}><p class="muted">{term ? "Try fewer letters." : "A room becomes public when somebody makes it so."}</p></Empty>}
      <ul class="plain">{rooms?.map((room) => <PublicRoom key={room.room_id} room={room} />)}</ul>
      {more && <button type="button" class="button full" onClick={next}>More</button>}
    </Page>
  );
}

/** Searches again a moment after the last key, and adds a page at a time. */
function usePublicRooms(term) {
  const { client } = useColumn();
  const [found, setFound] = useState({});
  const [load, , error] = useAction(async (since, before = []) => {
    const answer = await client.publicRooms({ limit: PAGE, since, ...(term && { filter: { generic_search_term: term } }) });
    setFound({ term, rooms: [...before, ...answer.chunk], more: answer.next_batch });
  });
  useEffect(() => {
    const timer = setTimeout(load, term ? PAUSE_MILLIS : 0);
    return () => clearTimeout(timer);
  }, [term]);
  const onlyFirst = !error && (found.rooms?.length ?? PAGE) <= PAGE;
  useEffect(() => {
    const timer = onlyFirst && setInterval(load, REFRESH_MILLIS);
    return () => clearInterval(timer);
  }, [term, onlyFirst]);
  return { ...found, error, next: () => load(found.more, found.more ? found.rooms : []) };
}

function PublicRoom({ room }) {
  const { session, client, go } = useColumn();
  const membership = client.getRoom(room.room_id)?.getMyMembership();
  const joined = membership === "join";
  const knocking = room.join_rule === "knock" && membership !== "invite";
  const [act, busy, error] = useAction(async () => {
    if (knocking && !joined) return client.knockRoom(room.room_id);
    if (!joined) await enter(client, room.room_id);
    go({ view: "room", roomId: room.room_id });
  });
  const name = room.name ?? room.canonical_alias ?? room.room_id;
  return (
    <li class="public-room" data-testid="public-room" data-room-id={room.room_id}>
      <Avatar session={session} id={room.room_id} name={name} mxc={room.avatar_url} size={44} square />
      <div class="grow">
        <p class="person-name ellipsis">{name}</p>
        <p class="muted ellipsis">{room.topic ?? "No topic"}</p>
        <p class="quiet ellipsis">{[room.canonical_alias, count(room.num_joined_members, "member")].filter(Boolean).join(" · ")}</p>
        <ErrorLine error={error} />
      </div>
      <button type="button" class={`button small ${joined ? "" : "primary"}`} data-testid="join-room" disabled={busy || membership === "knock"} onClick={act} aria-label={`${joined ? "Open" : "Join"} ${name}`}>
        {joined ? "Open" : membership === "knock" ? "Asked" : knocking ? "Ask to join" : "Join"}
      </button>
    </li>
  );
}
