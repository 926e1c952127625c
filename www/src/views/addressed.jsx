// The room of an address: looked up where the address says, before one joins.
import { useAnswer, useColumn } from "../hooks.js";
import { FoundRoom } from "./found-room.jsx";
import { Empty, ErrorLine, Skeleton } from "./states.jsx";

/** @param {{address: import("../address.js").Address}} props */
export function Addressed({ address }) {
  const { client } = useColumn();
  const { value, error, again } = useAnswer(() => lookUp(client, address), `${address.room} ${address.via}`);
  if (error) return <ErrorLine error={error} again={again} />;
  if (!value) return <div role="status" aria-label={`Looking for ${address.room}`}><Skeleton rows={1} /></div>;
  if (value.problem) return <Empty icon="compass" title={value.problem}><p class="muted measure breakable" role="alert" data-testid="address-problem">{value.words}</p></Empty>;
  return <ul class="plain"><FoundRoom room={value.room} via={value.via} name={value.room.name ?? address.room} /></ul>;
}

/** What is told of the room to those outside; many rooms tell nothing, and let in nevertheless. */
async function lookUp(client, { room, via }) {
  let [roomId, servers] = [room, via];
  if (room.startsWith("#")) {
    try {
      const found = await client.getRoomIdForAlias(room);
      [roomId, servers] = [found.room_id, [...via, ...found.servers]];
    } catch (error) {
      return problemWith(room, error);
    }
  }
  const told = await client.getRoomSummary(roomId, servers).catch(() => ({}));
  return { room: { ...told, room_id: roomId }, via: servers };
}

function problemWith(alias, error) {
  const server = alias.slice(alias.indexOf(":") + 1);
  if (error.httpStatus === 404) return { problem: "No room has this address", words: "Its server was asked, and knows none. Is it spelt right?" };
  if (error.httpStatus === 400) return { problem: "This is no address", words: "The address of a room looks like #room:example.org." };
  if (error.httpStatus >= 500) return { problem: "Its server cannot be reached just now", words: `Only ${server} knows which room has this address. Try again later, or ask for a link to the room itself.` };
  throw error;
}
