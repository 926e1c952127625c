// Bringing people into a room: anyone by a link, accounts of this browser by a press, others by their id.
import { useState } from "preact/hooks";
import { accounts } from "../accounts.js";
import { gatewayOf } from "../gateway.js";
import { useAction, useColumn } from "../hooks.js";
import { may } from "../power.js";
import { Avatar } from "./avatar.jsx";
import { Icon } from "./icons.jsx";
import { InviteLink } from "./invite-link.jsx";
import { Panel, useRoom } from "./panel.jsx";
import { ErrorLine } from "./states.jsx";

export function InvitePanel() {
  const { client, me } = useColumn();
  const room = useRoom();
  const [invite, busy, error] = useAction(async (userId) => {
    await mustExist(client, userId);
    await client.invite(room.roomId, userId);
    return true;
  });
  if (!room) return null;
  if (!may(room, me, "invite")) return <Panel title="Invite"><p class="muted">You may not invite people to this room.</p></Panel>;
  return (
    <Panel title="Invite" testid="invite-panel">
      <InviteLink room={room} />
      <ById invite={invite} busy={busy} />
      <ErrorLine error={error} />
      <AccountsHere room={room} invite={invite} busy={busy} />
    </Panel>
  );
}

function ById({ invite, busy }) {
  const { me, node } = useColumn();
  const [typed, setTyped] = useState("");
  // Through a gateway, people of every server can be invited; without one, a full id is rarely known.
  const example = gatewayOf(node.serverName) ? "@name:example.org" : "@name";
  const send = async (event) => {
    event.preventDefault();
    if (await invite(fullId(typed.trim(), me))) setTyped("");
  };
  return (
    <form class="stack" onSubmit={send}>
      <label class="field">
        <span>Username or full id</span>
        <input data-testid="invite-id" value={typed} onInput={({ target }) => setTyped(target.value)} placeholder={example} autoCapitalize="none" autoComplete="off" spellcheck={false} required />
      </label>
      <button class="button primary" data-testid="invite-by-id" disabled={busy || typed.trim() === ""}>Invite</button>
    </form>
  );
}

/** A server need not mind whom it invites, but a person who mistyped a name does. Another server may be away and not answer. */
async function mustExist(client, userId) {
  const isOwn = userId.endsWith(client.getUserId().slice(client.getUserId().indexOf(":")));
  const profile = await client.getProfileInfo(userId).catch((error) => (error.httpStatus === 404 ? null : isOwn ? Promise.reject(error) : {}));
  if (!profile) throw new Error(isOwn ? `There is nobody called ${userId.split(":")[0]} here.` : `There is nobody called ${userId}.`);
}

/** "ada" and "@ada" are on the own server. */
function fullId(typed, me) {
  const withSigil = typed.startsWith("@") ? typed : `@${typed}`;
  return withSigil.includes(":") ? withSigil : withSigil + me.slice(me.indexOf(":"));
}

function AccountsHere({ room, invite, busy }) {
  const { session, me, elsewhere } = useColumn();
  const others = accounts().filter(({ userId }) => userId !== me);
  return (
    <section class="stack">
      <h3 class="section-name">On this server</h3>
      <ul class="plain">
        {others.map((account) => {
          const membership = room.getMember(account.userId)?.membership;
          const state = { join: "In the room", invite: "Invited", ban: "Banned" }[membership];
          return (
            <li key={account.userId} class="person">
              <Avatar session={session} id={account.userId} name={account.name} mxc={account.avatar} size={36} />
              <span class="grow"><span class="person-name ellipsis">{account.name}</span><span class="quiet ellipsis">@{account.localpart}</span></span>
              {state ? <span class="tag">{state}</span> : <button type="button" class="button small" data-testid="invite-user" data-user-id={account.userId} aria-label={`Invite ${account.name}`} disabled={busy} onClick={() => invite(account.userId)}>Invite</button>}
            </li>
          );
        })}
      </ul>
      {!elsewhere.length && <p class="muted">{others.length ? "Or make one more account, to see a conversation from both sides." : "You are the only one here. Make a second account beside this one, and see a conversation from both sides."}</p>}
      <TryAlone />
    </section>
  );
}

/** Opens another account beside this one: the next of this browser, or a new one. */
export function TryAlone() {
  const { beside, elsewhere, session } = useColumn();
  if (elsewhere.length) return null;
  const other = accounts().find(({ userId }) => userId !== session.userId);
  return (
    <button type="button" class="button" data-testid="try-alone" onClick={() => beside(other ? { account: other.localpart, view: "home" } : { account: null, view: "join" })}>
      <Icon name="columns" size={18} /> {other ? `Open ${other.name} beside this` : "Try it alone, side by side"}
    </button>
  );
}
