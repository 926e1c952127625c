// The first room of a new account: a place of one's own, and three lines that say what has just happened.

const lines = (name) => [
  `Welcome, ${name}. This room is yours, and so is the server it lives on: it runs inside this page.`,
  "Everything you write is kept in this browser. Close the tab, come back, and it is all still here.",
  "Invite someone: a link brings them in, with a server of their own. Or open a second account beside this one and try a conversation alone.",
];

/** @returns {Promise<string>} the room's id */
export async function openWelcomeRoom(client, name) {
  const { room_id: roomId } = await client.createRoom({ name: "Welcome", preset: "private_chat", topic: "A room of your own" });
  for (const body of lines(name)) await client.sendMessage(roomId, { msgtype: "m.notice", body });
  return roomId;
}
