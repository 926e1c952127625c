// Whoever asks to join, above the message box, for those who may let them in.
import { useAction, useColumn } from "../hooks.js";
import { may } from "../power.js";
import { ErrorLine } from "./states.jsx";

export function Knocks({ room }) {
  const { client, me } = useColumn();
  const [act, busy, error] = useAction((effect) => effect());
  if (!may(room, me, "invite")) return null;
  const { roomId } = room;
  return room.getMembersWithMembership("knock").map(({ userId, rawDisplayName }) => (
    <div key={userId} class="knock" role="status" data-testid="knock" data-user-id={userId}>
      <span class="grow"><b>{rawDisplayName}</b> asks to join. <span class="quiet breakable">{userId}</span></span>
      {may(room, me, "kick") && <button type="button" class="button small" disabled={busy} onClick={() => act(() => client.kick(roomId, userId))}>Turn away</button>}
      <button type="button" class="button small primary" data-testid="let-in" disabled={busy} onClick={() => act(() => client.invite(roomId, userId))}>Let in</button>
      <ErrorLine error={error} />
    </div>
  ));
}
