// The frame of whatever opens on the right: a title, a way back, and room to scroll.
import { useColumn } from "../hooks.js";
import { IconButton } from "./icons.jsx";

export function Panel({ title, children, testid }) {
  const { session, go } = useColumn();
  return (
    <section class="panel" aria-label={`${title}, ${session.name}`} data-testid={testid}>
      <header class="bar">
        <h2 class="grow">{title}</h2>
        <IconButton icon="close" label="Close" data-testid="close-panel" onClick={() => go({ panel: undefined })} />
      </header>
      <div class="panel-scroll">{children}</div>
    </section>
  );
}

/** The frame of what fills the middle instead of a room. */
export function Page({ title, children }) {
  const { go } = useColumn();
  return (
    <div class="page">
      <header class="bar">
        <IconButton class="back" icon="back" label="Back to the rooms" onClick={() => go({ view: "home", roomId: undefined, panel: undefined })} />
        <h1 class="grow">{title}</h1>
      </header>
      <div class="main-scroll"><div class="page-inner">{children}</div></div>
    </div>
  );
}

/** The room that a panel is about; null when there is none. */
export function useRoom() {
  const { client, place } = useColumn();
  return place.roomId ? client.getRoom(place.roomId) : null;
}
