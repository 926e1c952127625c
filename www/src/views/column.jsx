// One account's column: the rooms, what is open of them, and a panel; a narrow column shows one of these at a time.
import { useEffect, useState } from "preact/hooks";
import { forgetAccount } from "../accounts.js";
import { useChanges, useColumn } from "../hooks.js";
import { depthOf } from "../route.js";
import { endSession } from "../session.js";
import { Avatar } from "./avatar.jsx";
import { CreateRoom } from "./create-room.jsx";
import { Explore } from "./explore.jsx";
import { IconButton } from "./icons.jsx";
import { InvitePanel } from "./invite.jsx";
import { Members } from "./members.jsx";
import { Profile } from "./profile.jsx";
import { Room } from "./room.jsx";
import { RoomList } from "./room-list.jsx";
import { RoomSettings } from "./room-settings.jsx";
import { YourServer } from "./server.jsx";
import { Empty, Waiting } from "./states.jsx";
import { Switcher } from "./switcher.jsx";

const VIEWS = { home: Home, room: Room, explore: Explore, create: CreateRoom, profile: Profile };
const PANELS = { members: Members, settings: RoomSettings, invite: InvitePanel, server: YourServer };

export function AccountColumn() {
  const { session, place, go, close } = useColumn();
  const [switching, setSwitching] = useState(false);
  const View = VIEWS[place.view] ?? Home;
  const Panel = PANELS[place.panel];
  const onKeyDown = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      setSwitching(true);
    } else if (event.key === "Escape" && place.panel && !event.defaultPrevented) {
      go({ panel: undefined });
    }
  };
  useUnfocusedKeys(onKeyDown);
  if (session.state === "signed-out") return <SignedOut />;
  return (
    <section class="column" aria-label={`${session.name}'s account`} data-depth={depthOf(place)} data-shared={Boolean(close)} data-panel={place.panel} onKeyDown={onKeyDown}>
      {close && <WhoseColumn />}
      <RoomList onSwitch={() => setSwitching(true)} />
      <div class="main">
        <Connection />
        <View key={`${place.view} ${place.roomId}`} />
      </div>
      {Panel && <Panel key={place.roomId} />}
      {switching && <Switcher onClose={() => setSwitching(false)} />}
    </section>
  );
}

/** Beside another account, a column says at its head whose it is. */
function WhoseColumn() {
  const { session, close } = useColumn();
  const { name, avatar, userId } = session;
  return (
    <div class="whose" data-testid="whose">
      <Avatar session={session} id={userId} name={name} mxc={avatar} size={22} />
      <span class="grow ellipsis">{name}</span>
      <IconButton icon="close" size={16} label={`Close ${name}'s column`} data-testid="close-column" onClick={close} />
    </div>
  );
}

/** Keys count for the first column too while nothing has the focus. */
function useUnfocusedKeys(onKeyDown) {
  const { elsewhere, place } = useColumn();
  const first = elsewhere.length === 0 || location.hash.startsWith(`#/@${encodeURIComponent(place.account)}`);
  useEffect(() => {
    if (!first) return;
    const listen = (event) => event.target === document.body && onKeyDown(event);
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  });
}

/** One calm line while the node is not answering; nothing while all is well. */
function Connection() {
  const { node, session } = useColumn();
  useChanges(node, "statechange");
  useChanges(node, "storage");
  if (node.stored?.full) return <p class="banner" role="alert" data-testid="storage-full">This browser's storage is full: what you write now may not be kept. Make some room on this device.</p>;
  if (node.state === "restarting") return <p class="banner" role="status">Your server is restarting. Nothing is lost.</p>;
  if (session.state === "waiting") return <p class="banner" role="status">Your server is not answering. What you send now waits here.</p>;
  return null;
}

function Home() {
  const { session, client } = useColumn();
  if (session.state === "starting") return <Waiting><p class="screen muted" role="status">Reading your rooms…</p></Waiting>;
  const any = client.getVisibleRooms().length > 0;
  return (
    <Empty icon="hash" title={any ? "Pick a room" : "No rooms yet"}>
      <p class="muted">{any ? "Or press Ctrl K to find one by its name." : "Make one, or look at what is public here."}</p>
    </Empty>
  );
}

function SignedOut() {
  const { session, close, go } = useColumn();
  const forget = async () => {
    await endSession(session.userId);
    forgetAccount(session.userId);
    if (close) close();
    else go({ account: null, view: "join", panel: undefined, roomId: undefined }, { replace: true });
  };
  return (
    <section class="screen column-screen" role="alert">
      <Empty icon="alert" title="This account is not on the server any more">
        <p class="muted measure">
          The server in this browser does not know {session.name} ({session.userId}). Its storage may have been cleared.
        </p>
        <button type="button" class="button primary" onClick={forget}>Let it go here</button>
      </Empty>
    </section>
  );
}
