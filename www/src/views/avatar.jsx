// A person's or room's picture, or the initials on a colour of their own until there is one.
import { colourOf, initials } from "../format.js";
import { useMedia } from "../media.js";

/** A smaller circle has room for one letter only. */
const TWO_LETTERS = 20;
/** One thumbnail serves every size on the screen. */
const BOX = { width: 96, height: 96, method: "crop" };

export function Avatar({ session, id, name, mxc, size = 36, square = false }) {
  const { url } = useMedia(session, mxc, BOX);
  const classes = `avatar colour-${colourOf(id)} ${square ? "square" : ""}`;
  return (
    <span class={classes} style={{ width: `${size}px`, height: `${size}px`, fontSize: `${Math.round(size * (size < TWO_LETTERS ? 0.6 : 0.4))}px` }} aria-hidden="true">
      {url ? <img src={url} alt="" width={size} height={size} /> : initials(name).slice(0, size < TWO_LETTERS ? 1 : 2)}
    </span>
  );
}
