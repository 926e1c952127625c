// The event graph of a room, at first of the open one, drawn: state events are squares, forward extremities are lit, a press opens the event.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { clock } from "../format.js";
import { ROW, layOut } from "../graph.js";
import { useAnswer, useColumn } from "../hooks.js";
import { roomGraph } from "../node.js";
import { roomSections } from "../rooms.js";
import { Code } from "./code.jsx";
import { IconButton } from "./icons.jsx";
import { Empty, ErrorLine, Skeleton } from "./states.jsx";

const EVENTS = 200;
const REFRESH_MILLIS = 2000;

export function EventGraph() {
  const { client, place } = useColumn();
  const rooms = roomSections(client).flatMap((section) => section.rooms).filter((room) => room.getMyMembership() === "join");
  const [picked, pick] = useState(null);
  useEffect(() => pick(null), [place.roomId]);
  if (!rooms.length) return <Empty icon="hash" title="No rooms yet"><p class="muted">Make a room to see how its events hang together.</p></Empty>;
  const roomId = [picked, place.roomId].find((id) => rooms.some((room) => room.roomId === id)) ?? rooms[0].roomId;
  return (
    <div class="graph-tab">
      <div class="graph-legend quiet">
        <select aria-label="Room" data-testid="graph-room" value={roomId} onChange={({ target }) => pick(target.value)}>
          {rooms.map((room) => <option key={room.roomId} value={room.roomId}>{room.name}</option>)}
        </select>
        <span><span class="key state" />state</span> <span><span class="key" />message</span> <span><span class="key tip" />forward extremity</span>
      </div>
      <RoomGraph key={roomId} roomId={roomId} />
    </div>
  );
}

function RoomGraph({ roomId }) {
  const { node, client } = useColumn();
  const [chosen, setChosen] = useState(null);
  const { value, error } = useAnswer(() => roomGraph(node, client.getAccessToken(), roomId, EVENTS), roomId, REFRESH_MILLIS);
  if (error) return <ErrorLine error={error} />;
  if (!value) return <Skeleton rows={10} />;
  const event = value.events.find(({ event_id: id }) => id === chosen);
  return (
    <>
      <Drawing graph={value} chosen={chosen} choose={setChosen} />
      {event && <Chosen event={event} onClose={() => setChosen(null)} />}
    </>
  );
}

function Drawing({ graph, chosen, choose }) {
  const scroller = useRef();
  const { lanes, nodes, edges, width, height } = useMemo(() => layOut(graph.events), [graph]);
  const tips = new Set(graph.forward_extremities);
  useEffect(() => void (scroller.current.scrollTop = scroller.current.scrollHeight), [nodes.length]);
  // The event that opens takes half of the room.
  useLayoutEffect(() => void scroller.current.querySelector(".chosen")?.scrollIntoView({ block: "nearest" }), [chosen]);
  return (
    <div class="graph" ref={scroller} data-testid="graph">
      <svg width="100%" height={height} role="list" aria-label="Events, the oldest first">
        {lanes.map((lane, index) => <text key={lane} class="lane" x={nodes.find(({ event }) => event.sender.endsWith(`:${lane}`)).x - 10} y={16 + (index % 2) * 14}>{lane}</text>)}
        {edges.map(({ key, path }) => <path key={key} class="edge" d={path} />)}
        {nodes.map((node) => <Node key={node.event.event_id} node={node} left={width} tip={tips.has(node.event.event_id)} chosen={chosen === node.event.event_id} choose={choose} />)}
      </svg>
    </div>
  );
}

function Node({ node: { event, x, y }, left, tip, chosen, choose }) {
  const open = () => choose(chosen ? null : event.event_id);
  const classes = ["node", event.state && "state", tip && "tip", event.status !== "accepted" && event.status.replace("_", "-"), chosen && "chosen"].filter(Boolean).join(" ");
  const onKeyDown = (key) => {
    if (key.key !== "Enter" && key.key !== " ") return;
    key.preventDefault();
    open();
  };
  return (
    <g class={classes} role="listitem" onClick={open} data-event-id={event.event_id}>
      <rect class="row-back" x="0" y={y - ROW / 2} width="100%" height={ROW} rx="6" role="button" tabIndex={0} aria-label={`${event.type} by ${event.sender}${tip ? ", forward extremity" : ""}`} onKeyDown={onKeyDown} />
      {tip && <circle class="glow" cx={x} cy={y} r="11" />}
      {event.state ? <rect class="mark" x={x - 6} y={y - 6} width="12" height="12" rx="2.5" /> : <circle class="mark" cx={x} cy={y} r="6" />}
      <text class="type" x={left} y={y + 1}>{event.type.replace(/^m\.(room\.)?/, "")}{event.status === "accepted" ? "" : ` (${event.status.replace("_", " ")})`}</text>
      <text class="who" x={left} y={y + 13}>{event.sender.slice(1, event.sender.indexOf(":"))} · {clock(event.origin_server_ts)} · depth {event.depth}</text>
    </g>
  );
}

function Chosen({ event, onClose }) {
  return (
    <section class="chosen-event" aria-label="Event">
      <header class="row"><h3 class="grow ellipsis">{event.type}</h3><IconButton icon="close" size={16} label="Close the event" onClick={onClose} /></header>
      <Code value={event} />
    </section>
  );
}
