// Who one is, and who else one can be: the accounts of this browser, one at a time or side by side.
import { useEffect, useRef, useState } from "preact/hooks";
import { accounts } from "../accounts.js";
import { useColumn } from "../hooks.js";
import { Avatar } from "./avatar.jsx";
import { Icon, IconButton } from "./icons.jsx";

export function AccountMenu() {
  const { session } = useColumn();
  const [open, setOpen] = useState(false);
  const element = useRef();
  const { name, avatar, userId } = session;
  useEffect(() => {
    if (!open) return;
    const leave = ({ target }) => element.current?.contains(target) || setOpen(false);
    addEventListener("pointerdown", leave);
    addEventListener("focusin", leave);
    return () => {
      removeEventListener("pointerdown", leave);
      removeEventListener("focusin", leave);
    };
  }, [open]);
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    event.stopPropagation();
    setOpen(false);
    element.current.querySelector("button").focus();
  };
  return (
    <div class="account-menu" ref={element} onKeyDown={onKeyDown}>
      <button type="button" class="account-button" data-testid="account-switcher" aria-expanded={open} title={userId} onClick={() => setOpen(!open)}>
        <Avatar session={session} id={userId} name={name} mxc={avatar} size={32} />
        <span class="account-name">{name}</span>
        <Icon name="chevron" size={16} />
      </button>
      {open && <Choices onDone={() => setOpen(false)} />}
    </div>
  );
}

function Choices({ onDone }) {
  const { session, place, go, beside, elsewhere } = useColumn();
  const others = accounts().filter(({ userId }) => userId !== session.userId);
  const choose = (change) => () => (onDone(), go(change));
  const clear = { roomId: undefined, panel: undefined };
  return (
    <div class="popover choices">
      <button type="button" class="choice" data-testid="open-profile" onClick={choose({ view: "profile", ...clear })}>
        <Icon name="edit" size={18} /> Your profile
      </button>
      <hr />
      {others.map((account) => (
        <div key={account.userId} class="row tight">
          <button type="button" class="choice grow" data-testid="switch-account" data-user-id={account.userId} disabled={elsewhere.includes(account.localpart)} onClick={choose({ account: account.localpart, view: "home", ...clear })}>
            <Avatar session={session} id={account.userId} name={account.name} mxc={account.avatar} size={26} />
            <span class="ellipsis">{account.name} <span class="quiet">@{account.localpart}</span></span>
          </button>
          {!elsewhere.includes(account.localpart) && (
            <IconButton icon="columns" label={`Open ${account.name} beside this account`} data-testid="side-by-side" onClick={() => (onDone(), beside({ account: account.localpart, view: "home" }))} />
          )}
        </div>
      ))}
      {others.length > 0 && <hr />}
      <div class="row tight">
        <button type="button" class="choice grow" data-testid="add-account" onClick={choose({ account: null, view: "join", ...clear })}>
          <Icon name="plus" size={18} /> Add an account
        </button>
        {elsewhere.length === 0 && place.account && (
          <IconButton icon="columns" label="Add an account beside this one" data-testid="add-beside" onClick={() => (onDone(), beside({ account: null, view: "join" }))} />
        )}
      </div>
    </div>
  );
}
