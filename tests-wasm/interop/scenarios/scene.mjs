// What scenarios begin with. A scenario is played by a person `here` and one `there`, on servers of two kinds, and then with
// the parts exchanged; `third` is a person on a server of the third kind.

let words = 0;

/** A word that no other room or message has. */
export const word = () => `w${Date.now().toString(36)}${(words += 1)}`;

/** Fits the message of that text. */
export const message = (body) => (event) => event.content.body === body;

/** A public room of `here`, with `there` in it. */
export async function shared({ here, there, version }, options = {}) {
  const room = await here.create({ room_version: version, ...allowed(options, here, version) });
  await there.join(room, here);
  await here.sees(room, there, "join");
  return room;
}

/** From version 12 on the creator's power is not one of the levels: https://spec.matrix.org/v1.19/rooms/v12/ */
function allowed({ power_level_content_override: levels, ...options }, here, version) {
  if (!levels) return options;
  const { [here.id]: own, ...others } = levels.users;
  return { ...options, power_level_content_override: { ...levels, users: Number(version) < 12 ? { [here.id]: own, ...others } : others } };
}
