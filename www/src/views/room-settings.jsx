// A room's settings: what it is called, who gets in, who can read back, its version, and leaving it.
import { useState } from "preact/hooks";
import { useAction, useAnswer, useColumn } from "../hooks.js";
import { maySend } from "../power.js";
import { avatarOf, isFavourite, toggleFavourite, topicOf, untilMembership, upgrade } from "../rooms.js";
import { Confirm } from "./dialog.jsx";
import { PictureField } from "./picture-field.jsx";
import { Icon } from "./icons.jsx";
import { Panel, useRoom } from "./panel.jsx";
import { ErrorLine } from "./states.jsx";

const JOIN_RULES = [
  { value: "invite", name: "By invitation" },
  { value: "knock", name: "By asking" },
  { value: "public", name: "Anyone" },
];
const VISIBILITIES = [
  { value: "shared", name: "Members, everything" },
  { value: "invited", name: "Members, from their invitation" },
  { value: "joined", name: "Members, from joining" },
  { value: "world_readable", name: "Anyone" },
];

export function RoomSettings() {
  const { client } = useColumn();
  const room = useRoom();
  const [act, busy, error] = useAction((effect) => effect());
  if (!room) return null;
  const send = (type, content) => act(() => client.sendStateEvent(room.roomId, type, content, ""));
  return (
    <Panel title="Room settings" testid="settings-panel">
      <ErrorLine error={error} />
      <Appearance room={room} act={act} busy={busy} send={send} />
      <Choice room={room} type="m.room.join_rules" field="join_rule" label="Who can join" choices={JOIN_RULES} send={send} busy={busy} />
      <Choice room={room} type="m.room.history_visibility" field="history_visibility" label="Who can read the history" choices={VISIBILITIES} send={send} busy={busy} />
      <Listing room={room} act={act} busy={busy} />
      <Favourite room={room} act={act} />
      <Upgrade room={room} act={act} busy={busy} />
      <Leaving room={room} act={act} />
      <p class="quiet breakable">{room.roomId}</p>
    </Panel>
  );
}

function Appearance({ room, act, busy, send }) {
  const { client, me } = useColumn();
  const [name, setName] = useState(room.name);
  const [topic, setTopic] = useState(topicOf(room));
  const mayName = maySend(room, me, "m.room.name");
  const mayTopic = maySend(room, me, "m.room.topic");
  const changed = name !== room.name || topic !== topicOf(room);
  const save = (event) => {
    event.preventDefault();
    act(async () => {
      if (name !== room.name) await client.setRoomName(room.roomId, name);
      if (topic !== topicOf(room)) await client.setRoomTopic(room.roomId, topic);
    });
  };
  return (
    <form class="stack" onSubmit={save}>
      <PictureField id={room.roomId} name={room.name} mxc={avatarOf(room)} square disabled={!maySend(room, me, "m.room.avatar")} onPicture={(url) => send("m.room.avatar", { url })} />
      <label class="field"><span>Name</span><input data-testid="settings-name" value={name} disabled={!mayName} onInput={({ target }) => setName(target.value)} maxLength={255} /></label>
      <label class="field"><span>Topic</span><textarea data-testid="settings-topic" rows={2} value={topic} disabled={!mayTopic} onInput={({ target }) => setTopic(target.value)} /></label>
      {changed && <button class="button primary" data-testid="settings-save" disabled={busy}>Save</button>}
    </form>
  );
}

function Choice({ room, type, field, label, choices, send, busy }) {
  const { me } = useColumn();
  const value = room.currentState.getStateEvents(type, "")?.getContent()[field] ?? choices[0].value;
  const shown = choices.some((choice) => choice.value === value) ? choices : [...choices, { value, name: value }];
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} data-testid={field} disabled={busy || !maySend(room, me, type)} onChange={({ target }) => send(type, { [field]: target.value })}>
        {shown.map((choice) => <option key={choice.value} value={choice.value}>{choice.name}</option>)}
      </select>
    </label>
  );
}

function Listing({ room, act, busy }) {
  const { client, me } = useColumn();
  const { value, again } = useAnswer(() => client.getRoomDirectoryVisibility(room.roomId), room.roomId);
  const set = ({ target }) => act(() => client.setRoomDirectoryVisibility(room.roomId, target.checked ? "public" : "private")).then(again);
  return (
    <label class="switch">
      <input type="checkbox" data-testid="listed" checked={value?.visibility === "public"} disabled={busy || !value || !maySend(room, me, "m.room.canonical_alias")} onChange={set} />
      <span>Listed among the public rooms</span>
    </label>
  );
}

function Favourite({ room, act }) {
  const { client } = useColumn();
  return (
    <label class="switch">
      <input type="checkbox" data-testid="favourite" checked={isFavourite(room)} onChange={() => act(() => toggleFavourite(client, room))} />
      <span>Favourite</span>
    </label>
  );
}

function Upgrade({ room, act, busy }) {
  const { client, me, go } = useColumn();
  const { value } = useAnswer(() => client.getCapabilities(), "capabilities");
  const versions = value?.["m.room_versions"];
  const [chosen, setChosen] = useState("");
  if (!versions || !maySend(room, me, "m.room.tombstone")) return <p class="quiet">Room version {room.getVersion()}</p>;
  const replace = () =>
    act(async () => {
      await room.loadMembersIfNeeded();
      const roomId = await upgrade(client, room, chosen);
      go({ view: "room", roomId, panel: undefined });
    });
  const others = Object.keys(versions.available).filter((version) => version !== room.getVersion());
  return (
    <div class="field">
      <label for="room-version">Room version <span class="quiet">now {room.getVersion()}</span></label>
      <div class="row">
        <select id="room-version" class="grow" data-testid="upgrade-version" value={chosen} onChange={({ target }) => setChosen(target.value)}>
          <option value="">Replace by a room of version…</option>
          {others.map((version) => <option key={version} value={version}>{version}{version === versions.default ? " (default)" : ""}</option>)}
        </select>
        <button type="button" class="button" data-testid="upgrade" disabled={!chosen || busy} onClick={replace}>Upgrade</button>
      </div>
    </div>
  );
}

function Leaving({ room, act }) {
  const { client, go } = useColumn();
  const [asking, setAsking] = useState(false);
  const leave = () =>
    act(async () => {
      await client.leave(room.roomId);
      go({ view: "home", roomId: undefined, panel: undefined }, { replace: true });
      // Forgotten before the sync that tells of it, the room would come back with that sync.
      await untilMembership(client, room.roomId, "leave");
      await client.forget(room.roomId, true);
    });
  return (
    <>
      <button type="button" class="button danger full" data-testid="leave" onClick={() => setAsking(true)}><Icon name="leave" size={18} /> Leave and forget</button>
      {asking && <Confirm title={`Leave ${room.name}?`} words="You will not see its messages any more. To come back you may need an invitation." action="Leave" onClose={() => setAsking(false)} onConfirm={leave} />}
    </>
  );
}
