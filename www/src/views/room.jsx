// An open room: its header, its timeline and the composer; or the invitation to it.
import { useState } from "preact/hooks";
import { useAction, useColumn } from "../hooks.js";
import { count, listOf } from "../format.js";
import { joiningOf } from "../joining.js";
import { nameIn } from "../notes.js";
import { maySend } from "../power.js";
import { avatarOf, enter, inviterOf, isFavourite, successorOf, toggleFavourite, topicOf } from "../rooms.js";
import { Avatar } from "./avatar.jsx";
import { Composer } from "./composer.jsx";
import { IconButton } from "./icons.jsx";
import { JoiningRoom } from "./joining.jsx";
import { Knocks } from "./knocks.jsx";
import { attempt } from "./notices.jsx";
import { Empty, ErrorLine, Skeleton } from "./states.jsx";
import { Timeline } from "./timeline.jsx";
import { useUploads } from "./uploads.jsx";

export function Room() {
  const { session, client, place } = useColumn();
  const room = client.getRoom(place.roomId);
  const membership = room?.getMyMembership();
  const joining = membership !== "join" && joiningOf(session, place.roomId);
  if (joining) return <div class="main-scroll"><BackBar /><JoiningRoom joining={joining} /></div>;
  if (membership === "invite") return <Invitation room={room} />;
  if (membership === "join") return <Conversation key={room.roomId} room={room} />;
  if (!room && session.state !== "ready") return <Skeleton rows={8} />;
  return <Outside room={room} roomId={place.roomId} />;
}

/** A room that one is not in: why, and what can be done about it. */
function Outside({ room, roomId }) {
  const { client, me } = useColumn();
  const membership = room?.getMyMembership();
  const asked = membership === "knock";
  const [act, busy, error] = useAction(() => (asked ? client.leave(roomId) : enter(client, roomId)));
  const { title, words } = whyOutside(room, me);
  return (
    <div class="main-scroll">
      <BackBar />
      <Empty icon="hash" title={title}>
        <p class="muted">{words}</p>
        {membership !== "ban" && <button type="button" class={`button ${asked ? "" : "primary"}`} data-testid={asked ? "unknock" : "join-again"} disabled={busy} onClick={act}>{asked ? "Take it back" : "Join the room"}</button>}
        <ErrorLine error={error} />
      </Empty>
    </div>
  );
}

function whyOutside(room, me) {
  const event = room?.getMember(me)?.events.member;
  const membership = room?.getMyMembership();
  if (membership === "knock") return { title: `You asked to join ${room.name}`, words: "Somebody in the room has to let you in." };
  if (!event) return { title: "You are not in this room", words: "Whoever may join it can do so here." };
  const by = nameIn(room, event.getSender());
  const reason = event.getContent().reason ? `: ${event.getContent().reason}` : ".";
  if (membership === "ban") return { title: `You are banned from ${room.name}`, words: `${by} did that${reason}` };
  if (event.getSender() !== me) return { title: `You were removed from ${room.name}`, words: `${by} did that${reason}` };
  return { title: `You left ${room.name}`, words: "What was said there meanwhile you see once you are back." };
}

/** What a message box refers to just now: nothing, a message to reply to, or one to edit. */
function Conversation({ room }) {
  const [intent, setIntent] = useState(null);
  const uploads = useUploads(room);
  const drop = {
    onDragOver: (event) => event.preventDefault(),
    onDrop: (event) => (event.preventDefault(), uploads.add(event.dataTransfer.files)),
  };
  return (
    <div class="conversation" {...drop}>
      <RoomHeader room={room} />
      <Timeline room={room} uploads={uploads} onReply={(event) => setIntent({ reply: event })} onEdit={(event) => setIntent({ edit: event })} />
      <Knocks room={room} />
      <Foot room={room} intent={intent} setIntent={setIntent} uploads={uploads} />
    </div>
  );
}

function Foot({ room, intent, setIntent, uploads }) {
  const { client, me, go } = useColumn();
  const successor = successorOf(room);
  const [follow, busy, error] = useAction(async () => {
    if (client.getRoom(successor)?.getMyMembership() !== "join") await enter(client, successor);
    go({ view: "room", roomId: successor, panel: undefined });
  });
  if (successor) {
    return (
      <div class="foot-note">
        <p>This room was replaced by a newer one.</p>
        <button type="button" class="button primary" data-testid="follow-upgrade" disabled={busy} onClick={follow}>Go to the new room</button>
        <ErrorLine error={error} />
      </div>
    );
  }
  if (!maySend(room, me, "m.room.message", false)) return <p class="foot-note muted">You can read here, but not write.</p>;
  return <Composer key={intent?.edit?.getId()} room={room} intent={intent} setIntent={setIntent} uploads={uploads} />;
}

function RoomHeader({ room }) {
  const { session, client, place, go } = useColumn();
  const toggle = (panel) => go({ panel: place.panel === panel ? undefined : panel });
  const favourite = isFavourite(room);
  return (
    <header class="bar room-header">
      <IconButton class="back" icon="back" label="Back to the rooms" onClick={() => go({ view: "home", roomId: undefined, panel: undefined })} />
      <Avatar session={session} id={room.roomId} name={room.name} mxc={avatarOf(room)} size={36} square />
      <div class="grow">
        <h1 class="ellipsis" data-testid="room-title">{room.name}</h1>
        <p class="quiet ellipsis">{topicOf(room) || count(room.getJoinedMemberCount(), "member")}</p>
      </div>
      <IconButton class="wide-only" icon="star" filled={favourite} label={favourite ? "Not a favourite" : "Favourite"} aria-pressed={favourite} onClick={() => attempt(toggleFavourite(client, room))} />
      <IconButton icon="invite" label="Invite" data-testid="invite" aria-pressed={place.panel === "invite"} onClick={() => toggle("invite")} />
      <IconButton icon="people" label="Members" data-testid="members" aria-pressed={place.panel === "members"} onClick={() => toggle("members")} />
      <IconButton icon="gear" label="Room settings" data-testid="room-settings" aria-pressed={place.panel === "settings"} onClick={() => toggle("settings")} />
    </header>
  );
}

function BackBar() {
  const { go } = useColumn();
  return (
    <header class="bar back">
      <IconButton class="back" icon="back" label="Back to the rooms" onClick={() => go({ view: "home", roomId: undefined, panel: undefined })} />
    </header>
  );
}

function Invitation({ room }) {
  const { session, client, me, go } = useColumn();
  const inviter = inviterOf(room, me);
  const [accept, accepting, acceptError] = useAction(() => enter(client, room.roomId));
  const [reject, rejecting, rejectError] = useAction(async () => {
    await client.leave(room.roomId);
    go({ view: "home", roomId: undefined }, { replace: true });
  });
  const busy = accepting || rejecting;
  return (
    <div class="main-scroll">
      <BackBar />
      <div class="empty">
        <Avatar session={session} id={room.roomId} name={room.name} mxc={avatarOf(room)} size={72} square />
        <h2>{room.name}</h2>
        <p class="muted">{inviter.name} invites you<br /><span class="quiet">{inviter.userId}</span></p>
        <div class="row">
          <button type="button" class="button" data-testid="reject-invite" disabled={busy} onClick={reject}>Decline</button>
          <button type="button" class="button primary" data-testid="accept-invite" disabled={busy} onClick={accept}>{accepting ? "Joining…" : "Join the room"}</button>
        </div>
        <ErrorLine error={acceptError ?? rejectError} />
      </div>
    </div>
  );
}

/** Who is writing, in words. */
export function Typing({ room }) {
  const { me } = useColumn();
  const names = room.currentState.getMembers().filter(({ typing, userId }) => typing && userId !== me).map(({ rawDisplayName }) => rawDisplayName);
  return (
    <p class="typing" data-testid="typing" aria-live="polite">
      {names.length > 0 && <><span class="typing-dots" aria-hidden="true"><i /><i /><i /></span>{listOf(names)} {names.length > 1 ? "are" : "is"} writing…</>}
    </p>
  );
}
