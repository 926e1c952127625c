// Finding a room: the public ones of this server, searched and paged, or any by its address.
import { useEffect, useState } from "preact/hooks";
import { addressIn } from "../address.js";
import { focused, useAction, useColumn } from "../hooks.js";
import { INVITED } from "../invitation.js";
import { Addressed } from "./addressed.jsx";
import { FoundRoom } from "./found-room.jsx";
import { Page } from "./panel.jsx";
import { Empty, ErrorLine, Skeleton } from "./states.jsx";

/** A link that the demo made itself is opened as if it had been clicked. */
const INVITATION = new RegExp(`#/${INVITED}/([\\w-]+)`);
const PAGE = 20;
const PAUSE_MILLIS = 300;
/** Rooms come and change while one looks. */
const REFRESH_MILLIS = 3000;

export function Explore() {
  const { place } = useColumn();
  return <Finder key={place.address} begin={place.address ?? ""} />;
}

function Finder({ begin }) {
  const { go } = useColumn();
  const [term, setTerm] = useState(begin);
  const settled = useSettled(term);
  const address = addressIn(term);
  const invitation = INVITATION.exec(term)?.[1];
  useEffect(() => void (invitation && go({ account: null, view: "join", invitation })), [invitation]);
  return (
    <Page title="Find a room">
      <label class="field"><span class="hidden">Search</span><input type="search" data-testid="directory-search" value={term} placeholder="Name, topic, address or link" onInput={({ target }) => setTerm(target.value)} ref={focused} spellcheck={false} autocapitalize="off" /></label>
      {!address && <PublicRooms term={addressIn(settled) ? "" : settled} />}
      {address && (settled === term ? <Addressed key={term} address={address} /> : <Skeleton rows={1} />)}
    </Page>
  );
}

/** What was typed, a moment after the last key: half an address would ask a server that nobody means. */
function useSettled(typed) {
  const [settled, setSettled] = useState(typed);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(typed), PAUSE_MILLIS);
    return () => clearTimeout(timer);
  }, [typed]);
  return settled;
}

function PublicRooms({ term }) {
  const { rooms, more, error, next } = usePublicRooms(term);
  return (
    <>
      <ErrorLine error={error} again={next} />
      {!rooms && !error && <Skeleton rows={5} />}
      {rooms?.length === 0 && <Empty icon="compass" title={term ? "Nothing of that name" : "No public rooms yet"}><p class="muted">{term ? "Try fewer letters. A room elsewhere is found by its whole address, #room:example.org, or by a link to it." : "A room becomes public when somebody makes it so. A room elsewhere is found by its address or a link."}</p></Empty>}
      <ul class="plain">{rooms?.map((room) => <FoundRoom key={room.room_id} room={room} />)}</ul>
      {more && <button type="button" class="button full" onClick={next}>More</button>}
    </>
  );
}

/** Searches, and adds a page at a time. */
function usePublicRooms(term) {
  const { client } = useColumn();
  const [found, setFound] = useState({});
  const [load, , error] = useAction(async (since, before = []) => {
    const answer = await client.publicRooms({ limit: PAGE, since, ...(term && { filter: { generic_search_term: term } }) });
    setFound({ term, rooms: [...before, ...answer.chunk], more: answer.next_batch });
  });
  useEffect(() => void load(), [term]);
  const onlyFirst = !error && (found.rooms?.length ?? PAGE) <= PAGE;
  useEffect(() => {
    const timer = onlyFirst && setInterval(load, REFRESH_MILLIS);
    return () => clearInterval(timer);
  }, [term, onlyFirst]);
  return { ...found, error, next: () => load(found.more, found.more ? found.rooms : []) };
}
