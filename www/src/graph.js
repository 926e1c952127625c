// Lays out a room's event graph: time downward, one lane for each server, an edge to each previous event.

export const ROW = 34;
const LANE = 46;
const HEAD = 40;
const LEFT = 26;
/** An edge that skips rows bows out so far that it passes beside what it skips. */
const MOST_BOW = 18;

export const serverOf = (sender) => sender.slice(sender.indexOf(":") + 1);

/**
 * @param {import("./node.js").GraphEvent[]} events
 * @returns {{lanes: string[], width: number, height: number, nodes: {event: object, x: number, y: number}[], edges: {key: string, path: string}[]}}
 */
export function layOut(events) {
  const ordered = [...events].sort((one, other) => one.depth - other.depth || one.position - other.position);
  const lanes = [...new Set(ordered.map(({ sender }) => serverOf(sender)))];
  const nodes = ordered.map((event, row) => ({ event, row, x: LEFT + lanes.indexOf(serverOf(event.sender)) * LANE, y: HEAD + row * ROW + ROW / 2 }));
  const byId = new Map(nodes.map((node) => [node.event.event_id, node]));
  const edges = nodes.flatMap((node) =>
    node.event.prev_events.flatMap((id) => {
      const before = byId.get(id);
      return before ? { key: `${node.event.event_id} ${id}`, path: edge(before, node) } : [];
    }),
  );
  return { lanes, nodes, edges, width: LEFT + lanes.length * LANE, height: HEAD + nodes.length * ROW + 8 };
}

function edge(from, to) {
  const rows = to.row - from.row;
  if (from.x !== to.x) return `M${from.x} ${from.y}C${from.x} ${from.y + ROW},${to.x} ${to.y - ROW},${to.x} ${to.y}`;
  if (rows <= 1) return `M${from.x} ${from.y}V${to.y}`;
  const bow = from.x - Math.min(MOST_BOW, 6 + rows * 3);
  return `M${from.x} ${from.y}C${bow} ${from.y + ROW * 0.8},${bow} ${to.y - ROW * 0.8},${to.x} ${to.y}`;
}
