// The icons, drawn on a grid of 24, and the hearth that stands for the node.

const PATHS = {
  alert: "M12 8v5m0 3.500v.01M10.300 4.200 2.800 17.500A2 2 0 0 0 4.500 20.500h15a2 2 0 0 0 1.700-3L13.700 4.200a2 2 0 0 0-3.400 0Z",
  archive: "M12 3v12m0 0-4-4m4 4 4-4M4 17v2a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-2",
  attach: "m20.500 11-8.600 8.600a5.500 5.500 0 0 1-7.800-7.800l8.600-8.600a3.700 3.700 0 0 1 5.200 5.200L9.300 17a1.800 1.800 0 0 1-2.600-2.600l7.900-7.900",
  back: "M15 5l-7 7 7 7",
  braces: "M9 4H8a2.500 2.500 0 0 0-2.500 2.500v2.700A2.800 2.800 0 0 1 3.500 12a2.800 2.800 0 0 1 2 2.800v2.700A2.500 2.500 0 0 0 8 20h1m6-16h1a2.500 2.500 0 0 1 2.500 2.500v2.700a2.800 2.800 0 0 0 2 2.800 2.800 2.800 0 0 0-2 2.800v2.700A2.500 2.500 0 0 1 16 20h-1",
  check: "m5 12.500 4.500 4.500L19 7.500",
  chevron: "m7 10 5 5 5-5",
  clock: "M12 7v5l3 2m6-2a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  close: "M6 6l12 12M18 6 6 18",
  columns: "M12 4v16M5 4h14a1.500 1.500 0 0 1 1.500 1.500v13A1.500 1.500 0 0 1 19 20H5a1.500 1.500 0 0 1-1.500-1.500v-13A1.500 1.500 0 0 1 5 4Z",
  compass: "m15.500 8.500-2 5-5 2 2-5 5-2ZM21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1ZM4 15V4a1 1 0 0 1 1-1h10",
  down: "M12 5v14m0 0 6-6m-6 6-6-6",
  edit: "m4 20 1-4L16.500 4.500a2.100 2.100 0 0 1 3 3L8 19l-4 1Zm10.500-13.500 3 3",
  file: "M13 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V9l-6-6Zm0 0v6h6",
  gear: "M5 7h8m4 0h2M5 12h2m4 0h8M5 17h8m4 0h2M15 5v4M9 10v4m6 1v4",
  hash: "M9.500 4 7.500 20m9-16-2 16M4.500 9h16m-17 6h16",
  leave: "M14 4H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h8m-4-8h11m0 0-4-4m4 4-4 4",
  people: "M15.500 20v-1.500a4 4 0 0 0-4-4h-5a4 4 0 0 0-4 4V20M9 11a3.700 3.700 0 1 0 0-7.400A3.700 3.700 0 0 0 9 11Zm12.500 9v-1.500a4 4 0 0 0-3-3.900M15.500 3.700a3.700 3.700 0 0 1 0 7.100",
  invite: "M15 20v-1.500a4 4 0 0 0-4-4H6.500a4 4 0 0 0-4 4V20M8.800 11a3.700 3.700 0 1 0 0-7.400 3.700 3.700 0 0 0 0 7.400ZM19 8v6m3-3h-6",
  plus: "M12 5v14M5 12h14",
  react: "M8.500 14.500a4.500 4.500 0 0 0 7 0M9 9.500v.01M15 9.500v.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  reply: "M9.500 7 4 12.500 9.500 18M4 12.500h9.500A6.500 6.500 0 0 1 20 19",
  search: "m20 20-4.300-4.300M18 11a7 7 0 1 1-14 0 7 7 0 0 1 14 0Z",
  send: "M4.500 12 4 4.500 21 12 4 19.500 4.500 12Zm0 0h7",
  server: "M5 4h14a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Zm0 9h14a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-5a1 1 0 0 1 1-1ZM8 7.500v.01M8 16.500v.01",
  star: "m12 3.500 2.600 5.400 5.900.8-4.300 4.100 1.100 5.900L12 16.900l-5.300 2.800 1.100-5.900-4.300-4.100 5.900-.8L12 3.500Z",
  tick: "m4.500 12.500 5 5L20 7",
  ticks: "m1.500 12.500 5 5L16 7m-4.500 9 1.500 1.500L23 7",
  up: "M12 19V5m0 0 6 6m-6-6-6 6",
  trash: "M4 6.500h16M9.500 6V4.500a1 1 0 0 1 1-1h3a1 1 0 0 1 1 1V6m3.500.500-.8 12.600a1.500 1.500 0 0 1-1.500 1.400H8.300a1.500 1.500 0 0 1-1.500-1.400L6 6.500m4 4v6m4-6v6",
};

export function Icon({ name, size = 20, filled = false }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} fill={filled ? "currentColor" : "none"} stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

/** A button that is only an icon, and so says its name. */
export function IconButton({ icon, label, size, filled, class: extra = "", ...rest }) {
  return (
    <button type="button" class={`icon-button ${extra}`} aria-label={label} title={label} {...rest}>
      <Icon name={icon} size={size} filled={filled} />
    </button>
  );
}

export function Hearth({ cold = false, size = 72 }) {
  return (
    <svg class={cold ? "hearth cold" : "hearth"} width={size} height={size} viewBox="0 0 64 64" aria-hidden="true">
      <path class="arch" d="M12 52V30a20 20 0 0 1 40 0v22M7 52h50" />
      {!cold && <path class="flame" d="M32 21c1.200 7 10 9.500 10 18.500a10 10 0 0 1-20 0c0-5 2.700-6.800 4-10.500 2 1 2.800 2.800 3 4.600C31.500 31 32.500 26 32 21Z" />}
    </svg>
  );
}
