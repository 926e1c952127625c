// Who is in the room, what they may do there, and what one may do about it.
import { useEffect, useState } from "preact/hooks";
import { useAction, useColumn } from "../hooks.js";
import { clock, dayName } from "../format.js";
import { LEVELS, isCreator, may, maySend, powerOf, titleOf } from "../power.js";
import { Avatar } from "./avatar.jsx";
import { Icon } from "./icons.jsx";
import { Panel, useRoom } from "./panel.jsx";
import { ErrorLine } from "./states.jsx";

const GROUPS = [
  { membership: "knock", name: "Asking to join" },
  { membership: "join", name: "Members" },
  { membership: "invite", name: "Invited" },
  { membership: "ban", name: "Banned" },
];

export function Members() {
  const { go } = useColumn();
  const room = useRoom();
  const [, loaded] = useState();
  useEffect(() => void room?.loadMembersIfNeeded().then(() => loaded(true), () => {}), [room]);
  if (!room) return null;
  return (
    <Panel title="Members" testid="members-panel">
      <button type="button" class="button full" onClick={() => go({ panel: "invite" })}><Icon name="invite" size={18} /> Invite someone</button>
      {GROUPS.map(({ membership, name }) => <Group key={membership} room={room} membership={membership} name={name} />)}
    </Panel>
  );
}

function Group({ room, membership, name }) {
  const [open, setOpen] = useState(null);
  const members = room.getMembersWithMembership(membership).sort((a, b) => byPower(room, a, b));
  if (!members.length) return null;
  return (
    <section>
      <h3 class="section-name">{name} <span>{members.length}</span></h3>
      <ul class="plain">
        {members.map((member) => (
          <MemberRow key={member.userId} room={room} member={member} open={open === member.userId} toggle={() => setOpen(open === member.userId ? null : member.userId)} />
        ))}
      </ul>
    </section>
  );
}

function byPower(room, one, other) {
  const [power, otherPower] = [powerOf(room, one.userId), powerOf(room, other.userId)];
  return power === otherPower ? one.rawDisplayName.localeCompare(other.rawDisplayName) : otherPower > power ? 1 : -1;
}

function MemberRow({ room, member, open, toggle }) {
  const { session, me } = useColumn();
  const title = titleOf(room, member.userId);
  return (
    <li data-testid="member" data-user-id={member.userId}>
      <button type="button" class="person" aria-expanded={open} onClick={toggle}>
        <Avatar session={session} id={member.userId} name={member.rawDisplayName} mxc={member.getMxcAvatarUrl()} size={36} />
        <span class="grow">
          <span class="person-name ellipsis">{member.rawDisplayName}{member.userId === me && <span class="quiet"> you</span>}</span>
          <span class="quiet ellipsis">{member.userId}</span>
          {member.membership === "join" && member.userId !== me && <Presence userId={member.userId} />}
        </span>
        {member.membership === "join" && title !== "Member" && <span class="tag">{title}</span>}
      </button>
      {open && <MemberActions room={room} member={member} />}
    </li>
  );
}

/** Whether somebody can be reached now, as far as their server has told. */
function Presence({ userId }) {
  const { client } = useColumn();
  const user = client.getUser(userId);
  if (!user?.lastPresenceTs) return null;
  const seen = user.getLastActiveTs();
  const words = user.presence === "online" ? "Here now" : user.presence === "unavailable" ? "Reachable, but idle" : seen ? `Last seen ${dayName(seen)}, ${clock(seen)}` : "Away";
  return <span class="quiet" data-testid="presence" data-presence={user.presence}><span class={`dot ${user.presence === "online" ? "running" : ""}`} /> {words}</span>;
}

function MemberActions({ room, member }) {
  const { client, me } = useColumn();
  const [act, busy, error] = useAction((effect) => effect());
  const { userId, membership } = member;
  const above = powerOf(room, me) > powerOf(room, userId);
  const actions = [
    { name: "Let in", shown: membership === "knock" && may(room, me, "invite"), effect: () => client.invite(room.roomId, userId) },
    { name: membership === "invite" ? "Take back the invitation" : membership === "knock" ? "Turn away" : "Remove from the room", testid: "kick", shown: membership !== "ban" && above && may(room, me, "kick"), effect: () => client.kick(room.roomId, userId) },
    { name: "Ban", testid: "ban", shown: membership !== "ban" && above && may(room, me, "ban"), effect: () => client.ban(room.roomId, userId) },
    { name: "Lift the ban", testid: "unban", shown: membership === "ban" && above && may(room, me, "ban"), effect: () => client.unban(room.roomId, userId) },
  ].filter(({ shown }) => shown);
  return (
    <div class="person-actions">
      {membership === "join" && <PowerChoice room={room} userId={userId} act={act} busy={busy} />}
      {userId !== me && actions.map(({ name, effect, testid }) => <button key={name} type="button" class="button small" data-testid={testid} disabled={busy} onClick={() => act(effect)}>{name}</button>)}
      <ErrorLine error={error} />
    </div>
  );
}

/** Only levels up to one's own can be given; a creator's stands above them and cannot be changed. */
function PowerChoice({ room, userId, act, busy }) {
  const { client, me } = useColumn();
  const power = powerOf(room, userId);
  const own = powerOf(room, me);
  const fixed = isCreator(room, userId) || !maySend(room, me, "m.room.power_levels") || (userId !== me && power >= own);
  if (fixed) return <p class="quiet">{isCreator(room, userId) ? "Made this room, and may do everything in it." : `Power level ${power}`}</p>;
  const levels = LEVELS.some(({ level }) => level === power) ? LEVELS : [...LEVELS, { level: power, name: "Custom" }];
  return (
    <label class="field inline">
      <span>Role</span>
      <select value={power} disabled={busy} data-testid="power-level" onChange={({ target }) => act(() => client.setPowerLevel(room.roomId, userId, Number(target.value)))}>
        {levels.filter(({ level }) => level <= own).map(({ level, name }) => <option key={level} value={level}>{name} ({level})</option>)}
      </select>
    </label>
  );
}
