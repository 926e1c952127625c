// A room on the way: what is waited for, and what one can do meanwhile.
import { useColumn } from "../hooks.js";
import { Empty } from "./states.jsx";

/** What a person reads for each state of a joining. */
function wordsFor({ state, reason, invitation: { name, roomName } }) {
  if (!name) return wordsForAddress({ state, reason, roomName });
  if (state === "trying") return { title: `Looking for ${name}…`, words: "Their server is asked to let you in." };
  if (state === "asked") return { title: "You asked to join", words: `As soon as ${name}, or somebody else who may, lets you in, the room opens here by itself.` };
  if (state === "refused") return { title: "The door is closed", words: `The room lets in only whom it has invited. Ask ${name} for an invitation. (${reason})` };
  return {
    title: `${name} cannot be reached just now`,
    words: `The room is kept by the browsers of those who are in it, and none of them answers. You will be let in when ${name} is back; until then your server keeps trying by itself.`,
    reason,
  };
}

/** The same for a room that was found by its address: nobody has invited. */
function wordsForAddress({ state, reason, roomName }) {
  if (state === "trying") return { title: `Looking for ${roomName}…`, words: "Those who are in it are asked to let you in." };
  if (state === "refused") return { title: "The door is closed", words: `The room lets in only whom it has invited. (${reason})` };
  return {
    title: `${roomName} cannot be reached just now`,
    words: "None of the servers that are named for the room answers. You will be let in when one of them is back; until then your server keeps trying by itself.",
    reason,
  };
}

export function JoiningRoom({ joining }) {
  const { go } = useColumn();
  const { title, words, reason } = wordsFor(joining);
  const giveUp = () => {
    joining.giveUp();
    go({ view: "home", roomId: undefined }, { replace: true });
  };
  return (
    <Empty icon={joining.state === "waiting" ? "clock" : "invite"} title={title}>
      {joining.invitation.name && <p class="quiet">{joining.invitation.roomName}</p>}
      <p class="muted measure" role="status" data-testid="joining" data-state={joining.state}>{words}</p>
      {reason && <p class="quiet measure">{reason}</p>}
      <div class="row">
        <button type="button" class="button" data-testid="give-up" onClick={giveUp}>Give up</button>
        {joining.state !== "trying" && joining.state !== "asked" && <button type="button" class="button primary" data-testid="try-now" onClick={joining.attempt}>Try now</button>}
      </div>
    </Empty>
  );
}
