// The link and the QR code that lead somebody elsewhere into the room, and whether the door is open to whoever has them.
import { useState } from "preact/hooks";
import { encode } from "uqr";
import { useAction, useAnswer, useColumn } from "../hooks.js";
import { linkTo } from "../invitation.js";
import { maySend } from "../power.js";
import { ownRecord, relaysOf } from "../relays.js";
import { Icon } from "./icons.jsx";
import { ErrorLine, Skeleton } from "./states.jsx";

/** Knocking came with this version: https://spec.matrix.org/v1.19/rooms/v7/ */
const FIRST_VERSION_WITH_KNOCKING = 7;
const REFRESH_MILLIS = 2000;
/** A QR code needs so much quiet around it. */
const QUIET_MODULES = 4;

const DOORS = {
  public: "Whoever has the link joins at once: as long as somebody in the room is reachable, you may be away. The link holds until you close the door, so give it to those whom you want here.",
  knock: "Whoever opens the link asks to join, and you or another admin lets them in. They wait until one of you is here.",
};

export function InviteLink({ room }) {
  const { client, me } = useColumn();
  const rule = room.getJoinRule();
  const [setRule, busy, error] = useAction((join_rule) => client.sendStateEvent(room.roomId, "m.room.join_rules", { join_rule }, ""));
  const change = maySend(room, me, "m.room.join_rules") ? (next) => setRule(next) : null;
  return (
    <section class="stack" data-testid="invite-link-section">
      <h3 class="section-name">By a link</h3>
      {DOORS[rule] ? <OpenDoor room={room} rule={rule} change={change} busy={busy} /> : <ClosedDoor room={room} change={change} busy={busy} />}
      <ErrorLine error={error} />
    </section>
  );
}

/** Opening a room to others is a decision, so nothing is opened before it is made. */
function ClosedDoor({ room, change, busy }) {
  if (!change) return <p class="muted">Only who was invited may join this room, and you may not change that. Invite people by their id, or ask an admin for a link.</p>;
  const knocking = Number(room.getVersion()) >= FIRST_VERSION_WITH_KNOCKING;
  return (
    <>
      <p class="muted">A link brings somebody from another browser into this room. Now only who was invited may join: shall the link open the door?</p>
      <button type="button" class="button primary" data-testid="open-door" disabled={busy} onClick={() => change("public")}>Make a link that lets in whoever has it</button>
      {knocking && <button type="button" class="button" data-testid="knock-door" disabled={busy} onClick={() => change("knock")}>Make a link to ask with</button>}
    </>
  );
}

function OpenDoor({ room, rule, change, busy }) {
  const link = useLink(room);
  return (
    <>
      <Reachability />
      {link.error ? <ErrorLine error={link.error} again={link.again} /> : link.value ? <Link link={link.value} roomName={room.name} /> : <Skeleton rows={3} />}
      <p class="quiet">{DOORS[rule]}</p>
      {change && (
        <div class="row wrap">
          {rule === "public" && <button type="button" class="button small" data-testid="knock-door" disabled={busy} onClick={() => change("knock")}>Let them ask first</button>}
          {rule === "knock" && <button type="button" class="button small" data-testid="open-door" disabled={busy} onClick={() => change("public")}>Let them in at once</button>}
          <button type="button" class="button small" data-testid="close-door" disabled={busy} onClick={() => change("invite")}>Close the door</button>
        </div>
      )}
    </>
  );
}

function useLink(room) {
  const { node, session, client, me } = useColumn();
  return useAnswer(async () => {
    const record = await ownRecord(node, client.getAccessToken());
    return linkTo({ userId: me, name: session.name, roomId: room.roomId, roomName: room.name, record });
  }, `${room.roomId} ${room.name} ${session.name}`);
}

/** A link leads nowhere while nobody can reach this server. */
function Reachability() {
  const { node, client, go } = useColumn();
  const { value } = useAnswer(() => relaysOf(node, client.getAccessToken()), "reachability", REFRESH_MILLIS);
  if (!value || value.some(({ state }) => state === "attached")) return null;
  const words = value.length ? "None of your relays is connected just now. The link is right, and works as soon as one is." : "Your server has no relay, so nobody elsewhere can reach it. Choose one, and make the link then.";
  return <p class="error-line" role="status"><Icon name="alert" size={16} /> <span>{words}</span> <button type="button" class="link" onClick={() => go({ panel: "server" })}>Your server</button></p>;
}

function Link({ link, roomName }) {
  const [copied, setCopied] = useState(false);
  const [copy, , error] = useAction(async () => {
    await navigator.clipboard.writeText(link);
    setCopied(true);
  });
  const [share, , shareError] = useAction(() => navigator.share({ title: roomName, url: link }).catch((failure) => (failure.name === "AbortError" ? null : Promise.reject(failure))));
  return (
    <>
      <QrCode text={link} />
      <div class="row">
        <input class="grow" data-testid="invite-link" aria-label="The link" value={link} readOnly onFocus={({ target }) => target.select()} />
        <button type="button" class="button" data-testid="copy-link" onClick={copy}><Icon name={copied ? "check" : "copy"} size={18} /> {copied ? "Copied" : "Copy"}</button>
      </div>
      {navigator.share && <button type="button" class="button" onClick={share}>Share…</button>}
      <ErrorLine error={error ?? shareError} />
    </>
  );
}

function QrCode({ text }) {
  const { data, size } = encode(text, { ecc: "L", border: 0 });
  const path = data.map((line, y) => line.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : "")).join("")).join("");
  const side = size + 2 * QUIET_MODULES;
  return (
    <svg class="qr" viewBox={`${-QUIET_MODULES} ${-QUIET_MODULES} ${side} ${side}`} role="img" aria-label="The link as a QR code" shape-rendering="crispEdges">
      <rect x={-QUIET_MODULES} y={-QUIET_MODULES} width={side} height={side} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
