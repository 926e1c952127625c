// A new room: name, topic, private or public with an address, and who is invited from the start.
import { useState } from "preact/hooks";
import { accounts, localpartFrom } from "../accounts.js";
import { focused, useAction, useColumn } from "../hooks.js";
import { untilMembership } from "../rooms.js";
import { Avatar } from "./avatar.jsx";
import { Page } from "./panel.jsx";
import { ErrorLine } from "./states.jsx";

export function CreateRoom() {
  const { client, me, go } = useColumn();
  const [name, setName] = useState("");
  const [isPublic, setPublic] = useState(false);
  const [address, setAddress] = useState(null);
  const aliased = address ?? localpartFrom(name).replace(/\./g, "-");
  const [create, busy, error] = useAction(async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const { room_id: roomId } = await client.createRoom({
      name: name.trim(),
      topic: form.get("topic").trim() || undefined,
      invite: form.getAll("invite"),
      ...(isPublic ? { preset: "public_chat", visibility: "public", room_alias_name: aliased } : { preset: "private_chat", visibility: "private" }),
    });
    await untilMembership(client, roomId, "join");
    go({ view: "room", roomId }, { replace: true });
  });
  return (
    <Page title="New room">
      <form class="stack" onSubmit={create}>
        <label class="field"><span>Name</span><input data-testid="room-name" value={name} onInput={({ target }) => setName(target.value)} maxLength={255} ref={focused} required pattern=".*\S.*" /></label>
        <label class="field"><span>Topic <span class="quiet">if it has one</span></span><input name="topic" data-testid="room-topic" /></label>
        <fieldset class="choice-cards">
          <legend>Who can join</legend>
          <Card checked={!isPublic} onChange={() => setPublic(false)} testid="room-private" title="Private" words="People you invite" />
          <Card checked={isPublic} onChange={() => setPublic(true)} testid="room-public" title="Public" words="Anyone, from this server's list of public rooms or by its address" />
        </fieldset>
        {isPublic && (
          <label class="field">
            <span>Address</span>
            <span class="affixed"><span>#</span><input data-testid="room-address" value={aliased} onInput={({ target }) => setAddress(target.value)} pattern="[^\s:#]+" required /><span class="ellipsis">{me.slice(me.indexOf(":"))}</span></span>
          </label>
        )}
        <InviteFromStart />
        <ErrorLine error={error} />
        <button class="button primary" data-testid="create-room" disabled={busy}>{busy ? "Making it…" : "Create the room"}</button>
      </form>
    </Page>
  );
}

function Card({ checked, onChange, title, words, testid }) {
  return (
    <label class="choice-card">
      <input type="radio" name="visibility" checked={checked} onChange={onChange} data-testid={testid} />
      <span><b>{title}</b><span class="quiet">{words}</span></span>
    </label>
  );
}

function InviteFromStart() {
  const { session, me } = useColumn();
  const others = accounts().filter(({ userId }) => userId !== me);
  if (!others.length) return null;
  return (
    <fieldset class="stack tight">
      <legend>Invite</legend>
      {others.map(({ userId, name, avatar, localpart }) => (
        <label key={userId} class="switch">
          <input type="checkbox" name="invite" value={userId} data-testid="room-invite" />
          <Avatar session={session} id={userId} name={name} mxc={avatar} size={26} />
          <span class="ellipsis">{name} <span class="quiet">@{localpart}</span></span>
        </label>
      ))}
    </fieldset>
  );
}
