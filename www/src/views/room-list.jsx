// The list of rooms, with invitations first, and beneath it the node's own line.
import { useState } from "preact/hooks";
import { useAnswer, useChanges, useColumn } from "../hooks.js";
import { count, shortTime } from "../format.js";
import { allJoining } from "../joining.js";
import { relaysOf } from "../relays.js";
import { avatarOf, highlightsIn, inviterOf, lastWords, roomSections, unreadIn } from "../rooms.js";
import { AccountMenu } from "./account-menu.jsx";
import { Avatar } from "./avatar.jsx";
import { Icon, IconButton } from "./icons.jsx";
import { Skeleton } from "./states.jsx";

export function RoomList({ onSwitch }) {
  const { session, client, place, go } = useColumn();
  const sections = roomSections(client);
  return (
    <nav class="rooms" aria-label={`${session.name}'s rooms`} onKeyDown={moveByArrows}>
      <header class="bar">
        <AccountMenu />
      </header>
      <div class="rooms-tools">
        <button type="button" class="search-button" onClick={onSwitch}>
          <Icon name="search" size={16} /> <span>Find</span> <kbd>Ctrl K</kbd>
        </button>
        <IconButton icon="compass" label="Find a room" data-testid="explore" aria-pressed={place.view === "explore"} onClick={() => go({ view: "explore", roomId: undefined, address: undefined, panel: undefined })} />
        <IconButton icon="plus" label="New room" data-testid="new-room" aria-pressed={place.view === "create"} onClick={() => go({ view: "create", roomId: undefined, panel: undefined })} />
      </div>
      <div class="rooms-scroll">
        {session.state === "starting" && sections.length === 0 && <Skeleton rows={6} />}
        <OnTheWay />
        {sections.map(({ name, rooms }) => <Section key={name} name={name} rooms={rooms} />)}
        {session.state !== "starting" && sections.length === 0 && <p class="quiet centred">No rooms yet.</p>}
      </div>
      <NodeLine />
    </nav>
  );
}

function Section({ name, rooms }) {
  return (
    <section>
      <h2 class="section-name">{name}</h2>
      <ul class="plain">{rooms.map((room) => <RoomItem key={room.roomId} room={room} />)}</ul>
    </section>
  );
}

/** Rooms that a link has led to, and that have not been entered yet. */
function OnTheWay() {
  const { session, client, place, go } = useColumn();
  const unknown = allJoining(session).filter(({ invitation }) => !client.getRoom(invitation.roomId));
  if (!unknown.length) return null;
  return (
    <section>
      <h2 class="section-name">On the way</h2>
      <ul class="plain">
        {unknown.map(({ state, invitation: { roomId, roomName, name } }) => (
          <li key={roomId}>
            <button type="button" class="room-item" data-testid="on-the-way" aria-current={place.roomId === roomId ? "page" : undefined} onClick={() => go({ view: "room", roomId, panel: undefined })}>
              <Avatar session={session} id={roomId} name={roomName} size={42} square />
              <span class="room-item-words">
                <span class="room-item-name">{roomName}</span>
                <span class="room-item-last">{onTheWayInWords(state, name)}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function onTheWayInWords(state, name) {
  if (state === "waiting") return name ? `${name} cannot be reached just now` : "Nobody there can be reached just now";
  return name ? `Invited by ${name}` : "Asking to be let in";
}

function RoomItem({ room }) {
  const { session, me, place, go } = useColumn();
  const invited = room.getMyMembership() === "invite";
  const last = lastWords(room, me);
  const unread = invited ? 1 : unreadIn(room);
  const line = invited ? `${inviterOf(room, me).name} invites you` : (last?.words ?? "No messages yet");
  return (
    <li>
      <button
        type="button"
        class={`room-item ${unread ? "has-unread" : ""}`}
        data-testid="room-item"
        data-room-id={room.roomId}
        aria-current={place.roomId === room.roomId ? "page" : undefined}
        onClick={() => go({ view: "room", roomId: room.roomId, panel: place.panel === "server" ? "server" : undefined })}
      >
        <Avatar session={session} id={room.roomId} name={room.name} mxc={avatarOf(room)} size={42} square />
        <span class="room-item-words">
          <span class="room-item-name">{room.name}</span>
          {last && <span class="room-item-time">{shortTime(last.time)}</span>}
          <span class="room-item-last">{line}</span>
          {unread > 0 && <Unread room={room} unread={unread} invited={invited} />}
        </span>
      </button>
    </li>
  );
}

function Unread({ room, unread, invited }) {
  const loud = invited || highlightsIn(room) > 0;
  return (
    <span class={`badge ${loud ? "loud" : ""}`} data-testid="unread">
      {unread > 99 ? "99+" : unread}
      <span class="hidden"> {invited ? "invitation" : highlightsIn(room) ? `unread, ${count(highlightsIn(room), "mention")}` : "unread"}</span>
    </span>
  );
}

const REACH_MILLIS = 5000;
const STATES = { starting: "Starting", running: "In this page", restarting: "Restarting", failed: "Stopped" };

function NodeLine() {
  const { node, place, go } = useColumn();
  useChanges(node, "statechange");
  const open = place.panel === "server";
  return (
    <button type="button" class="node-line" data-testid="your-server" aria-expanded={open} onClick={() => go({ panel: open ? undefined : "server" })}>
      <span class={`dot ${node.state}`} />
      <span class="node-line-words">
        <span>Your server</span>
        <span class="quiet">{STATES[node.state]}<Reach /></span>
      </span>
      <Icon name="server" size={18} />
    </button>
  );
}

/** Whether others can reach this server, in two words. */
function Reach() {
  const { node, client } = useColumn();
  const { value } = useAnswer(() => relaysOf(node, client.getAccessToken()), "reach", REACH_MILLIS);
  if (!value?.length) return null;
  const reachable = value.some(({ state }) => state === "attached");
  return <span data-testid="reach" data-reachable={reachable}>{reachable ? " · reachable by others" : " · looking for its relay"}</span>;
}

/** Up and down go from room to room. */
function moveByArrows(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const items = [...event.currentTarget.querySelectorAll(".room-item")];
  const at = items.indexOf(document.activeElement);
  const next = items[at + (event.key === "ArrowDown" ? 1 : -1)] ?? (at < 0 ? items[0] : null);
  if (!next) return;
  event.preventDefault();
  next.focus();
}
