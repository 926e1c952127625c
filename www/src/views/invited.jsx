// What somebody sees who opened an invitation: who asks them in and where, and one button.
import { useState } from "preact/hooks";
import { accounts } from "../accounts.js";
import { INVITED } from "../invitation.js";
import { beginJoining } from "../joining.js";
import { sessionOf } from "../session.js";
import { Avatar } from "./avatar.jsx";

/** Goes into the room as an account of this browser. */
export function acceptAs(node, account, invitation, onDone) {
  beginJoining(sessionOf(node, account), invitation);
  onDone({ account: account.localpart, view: "room", roomId: invitation.roomId });
}

export function InvitationLead({ invitation }) {
  return (
    <>
      <h1>{invitation.name} invites you</h1>
      <p class="lead" data-testid="invitation">to talk in “{invitation.roomName}”, with a server of your own that runs right here, in this page.</p>
      <p class="quiet breakable">{invitation.userId}</p>
    </>
  );
}

export function DamagedInvitation() {
  return (
    <p class="error-line" role="alert" data-testid="damaged">
      This invitation is damaged: a part of the link is missing or was changed on its way. Ask for it again, or start without it.
    </p>
  );
}

/** Whoever has accounts here needs no other one. */
export function AccountChoice({ node, invitation, onDone }) {
  const [list] = useState(accounts);
  const [busy, setBusy] = useState(false);
  if (!list.length) return null;
  return (
    <ul class="plain card" aria-label="Your accounts">
      {list.map((account) => (
        <li key={account.userId}>
          <button type="button" class="person" data-testid={`${INVITED}-as`} disabled={busy} onClick={() => (setBusy(true), acceptAs(node, account, invitation, onDone))}>
            <Avatar session={sessionOf(node, account)} id={account.userId} name={account.name} mxc={account.avatar} size={36} />
            <span class="grow"><span class="person-name ellipsis">Join as {account.name}</span><span class="quiet ellipsis">@{account.localpart}</span></span>
          </button>
        </li>
      ))}
    </ul>
  );
}
