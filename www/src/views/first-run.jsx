// Making an account: one field and a button; or signing in to an account that the server has already.
import { useState } from "preact/hooks";
import { createAccount, signIn } from "../accounts.js";
import { focused, useAction, useAnswer } from "../hooks.js";
import { invitationIn } from "../invitation.js";
import { makeNode } from "../node.js";
import { GatewayChoice } from "./gateway.jsx";
import { Hearth, IconButton } from "./icons.jsx";
import { AccountChoice, DamagedInvitation, InvitationLead, acceptAs } from "./invited.jsx";
import { ErrorLine } from "./states.jsx";

/** Longer names would not be shown in full anywhere. */
const LONGEST_NAME = 64;

/** `invitation` is what a link carries, still packed; `gateway` may give a server its name that is yet to be made. */
export function FirstRun({ node, gateway, invitation: packed, onDone, onClose }) {
  const [known, setKnown] = useState(false);
  const { value: invitation } = useAnswer(async () => packed && invitationIn(packed), packed);
  if (packed && invitation === undefined) return null;
  return (
    <section class="screen first-run" aria-label={invitation ? "Invitation" : "New account"}>
      {onClose && <IconButton class="corner" icon="close" label="Close" onClick={onClose} />}
      <Hearth />
      {invitation ? <InvitationLead invitation={invitation} /> : <Lead another={onClose && !packed} />}
      {packed && !invitation && <DamagedInvitation />}
      {invitation && <AccountChoice node={node} invitation={invitation} onDone={onDone} />}
      {known ? <KnownAccount node={node} invitation={invitation} onDone={onDone} /> : <NewAccount node={node} gateway={gateway} invitation={invitation} onDone={onDone} />}
      {isMade(node) && (
        <button type="button" class="link" onClick={() => setKnown(!known)}>
          {known ? "Make a new account" : "I have an account on this server"}
        </button>
      )}
    </section>
  );
}

/** A server that is yet to be made has no name, and no accounts. */
const isMade = (node) => node.serverName !== undefined;

function Lead({ another }) {
  return (
    <>
      <h1>{another ? "Another account" : "Inglenook"}</h1>
      <p class="lead">{another ? "On the same server, as another person." : "A chat whose server runs right here, in this page."}</p>
    </>
  );
}

function NewAccount({ node, gateway, invitation, onDone }) {
  const [name, setName] = useState("");
  const [wasMade] = useState(isMade(node));
  const [taken, take] = useState(true);
  const [create, busy, error] = useAction(async () => {
    if (!isMade(node)) await makeNode(node, taken ? gateway : null);
    const { account, roomId } = await createAccount(node, name.trim(), { invited: Boolean(invitation) });
    // Asked for now that there is something to keep; the answer is shown under "your server".
    node.requestPersistence().catch(() => false);
    if (invitation) acceptAs(node, account, invitation, onDone);
    else onDone({ account: account.localpart, view: "room", roomId });
  });
  return (
    <form class="stack card" onSubmit={(event) => (event.preventDefault(), create())}>
      <label class="field">
        <span>What should people call you?</span>
        <input data-testid="name-field" value={name} onInput={({ target }) => setName(target.value)} maxLength={LONGEST_NAME} autoComplete="nickname" ref={focused} required pattern=".*\S.*" />
      </label>
      {!wasMade && (busy || !isMade(node)) && <GatewayChoice domain={gateway} taken={taken} take={take} disabled={busy} />}
      <button class="button primary" data-testid="create-account" disabled={busy}>{busy ? "Making a place for you…" : invitation ? "Join the room" : "Start talking"}</button>
      <ErrorLine error={error} />
      <p class="quiet">
        No e-mail, no password to invent. Your messages stay in this browser, and it may ask whether to keep them: say yes, or it can clear them when space runs short.
      </p>
    </form>
  );
}

function KnownAccount({ node, invitation, onDone }) {
  const [enter, busy, error] = useAction(async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const account = await signIn(node, form.get("user").trim(), form.get("password"));
    if (invitation) acceptAs(node, account, invitation, onDone);
    else onDone({ account: account.localpart, view: "home" });
  });
  return (
    <form class="stack card" onSubmit={enter}>
      <label class="field"><span>Username</span><input name="user" autoComplete="username" autoCapitalize="none" ref={focused} required /></label>
      <label class="field"><span>Password</span><input name="password" type="password" autoComplete="current-password" required /></label>
      <button class="button primary" disabled={busy}>{busy ? "Signing in…" : "Sign in"}</button>
      <ErrorLine error={error} />
    </form>
  );
}
