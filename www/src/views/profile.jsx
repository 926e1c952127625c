// One's own profile: name, picture, the password that was made, and taking the account out of this browser.
import { useState } from "preact/hooks";
import { forgetAccount } from "../accounts.js";
import { useAction, useColumn } from "../hooks.js";
import { endSession } from "../session.js";
import { Confirm } from "./dialog.jsx";
import { Icon, IconButton } from "./icons.jsx";
import { notify } from "./notices.jsx";
import { Page } from "./panel.jsx";
import { PictureField } from "./picture-field.jsx";
import { ErrorLine } from "./states.jsx";

export function Profile() {
  const { session, client, me } = useColumn();
  const [name, setName] = useState(session.name);
  const [save, busy, error] = useAction(async (event) => {
    event.preventDefault();
    await client.setDisplayName(name.trim());
    notify("Your name is changed everywhere");
  });
  return (
    <Page title="Your profile">
      <form class="stack" onSubmit={save}>
        <PictureField id={me} name={name} mxc={session.avatar} onPicture={(url) => client.setAvatarUrl(url)} />
        <label class="field"><span>What people call you</span><input data-testid="profile-name" value={name} onInput={({ target }) => setName(target.value)} maxLength={64} required pattern=".*\S.*" /></label>
        <ErrorLine error={error} />
        {name.trim() !== session.name && <button class="button primary" data-testid="profile-save" disabled={busy}>Save</button>}
      </form>
      <Keys />
      <LeaveBrowser />
    </Page>
  );
}

/** What it takes to sign in with another client in this browser. */
function Keys() {
  const { session, me } = useColumn();
  const [shown, setShown] = useState(false);
  const { password } = session.account;
  return (
    <section class="stack">
      <h2 class="section-name">Signing in elsewhere on this server</h2>
      <Copied label="Your id" text={me} />
      {password && (shown ? <Copied label="Password" text={password} /> : <button type="button" class="button" data-testid="show-password" onClick={() => setShown(true)}>Show the password that was made for you</button>)}
    </section>
  );
}

function Copied({ label, text }) {
  return (
    <div class="copied">
      <span class="grow"><span class="quiet">{label}</span><code class="breakable">{text}</code></span>
      <IconButton icon="copy" label={`Copy: ${label}`} onClick={() => navigator.clipboard.writeText(text).then(() => notify("Copied"))} />
    </div>
  );
}

function LeaveBrowser() {
  const { session, go } = useColumn();
  const [asking, setAsking] = useState(false);
  const leave = async () => {
    forgetAccount(session.userId);
    await endSession(session.userId);
    go({ account: null, view: "join", roomId: undefined, panel: undefined }, { replace: true });
  };
  return (
    <section class="stack">
      <h2 class="section-name">This browser</h2>
      <p class="muted">Signing out leaves the account and its rooms on the server. To come back you need the password above.</p>
      <button type="button" class="button danger" data-testid="sign-out" onClick={() => setAsking(true)}><Icon name="leave" size={18} /> Sign out</button>
      {asking && <Confirm title="Sign out?" words="Without the password above there is no way back into this account." action="Sign out" onClose={() => setAsking(false)} onConfirm={leave} />}
    </section>
  );
}
