// The benchmark's steps, run in the page: requests as a client makes them, and how long each took.

const room = (id, below) => `/rooms/${encodeURIComponent(id)}/${below}`;

/** Median and 95th percentile in milliseconds. */
export function figures(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] * 100) / 100;
  return { runs: sorted.length, p50: at(0.5), p95: at(0.95) };
}

async function timed(runs, action) {
  const times = [];
  for (let run = 0; run < runs; run += 1) {
    const begun = performance.now();
    await action(run);
    times.push(performance.now() - begun);
  }
  return figures(times);
}

class Client {
  constructor(base, token) {
    this.base = base;
    this.token = token;
  }

  async call(method, path, body) {
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const response = await fetch(this.base + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  send(roomId, transaction, body = "A message of ordinary length, as people send them.") {
    return this.call("PUT", room(roomId, `send/m.room.message/${transaction}`), { msgtype: "m.text", body });
  }
}

export class Bench {
  constructor(baseUrl) {
    this.root = baseUrl;
    this.base = `${baseUrl}/_matrix/client/v3`;
    this.transactions = 0;
  }

  transaction() {
    return `b${(this.transactions += 1)}`;
  }

  async register(username) {
    const auth = { type: "m.login.dummy" };
    const answer = await new Client(this.base).call("POST", "/register", { username, password: "correct horse battery staple", auth });
    return new Client(this.base, answer.access_token);
  }

  async begin() {
    this.alice = await this.register("alice");
    this.room = (await this.alice.call("POST", "/createRoom", { preset: "public_chat" })).room_id;
    this.bob = await this.register("bob");
    await this.bob.call("POST", room(this.room, "join"), {});
  }

  floorEmpty(runs) {
    return timed(runs, async () => (await fetch(`${this.root}/floor/empty`)).json());
  }

  floorPut(runs) {
    const body = JSON.stringify({ msgtype: "m.text", body: "x" });
    return timed(runs, async () => (await fetch(`${this.root}/floor/put`, { method: "PUT", body })).json());
  }

  send(runs) {
    return timed(runs, () => this.alice.send(this.room, this.transaction()));
  }

  /** Eight sends that are always under way together: how long each takes, and how many are done in a second. */
  async sendEight(runs) {
    const times = [];
    const begun = performance.now();
    const sender = async () => {
      while (times.length < runs) {
        const sentAt = performance.now();
        await this.alice.send(this.room, this.transaction());
        times.push(performance.now() - sentAt);
      }
    };
    await Promise.all(Array.from({ length: 8 }, sender));
    return { ...figures(times), perSecond: Math.round((times.length * 1_000) / (performance.now() - begun)) };
  }

  /** From one person's sending to what another one's poll is answered. */
  async putToSync(runs) {
    let since = (await this.bob.call("GET", "/sync?timeout=0")).next_batch;
    const times = [];
    for (let run = 0; run < runs; run += 1) {
      const poll = this.bob.call("GET", `/sync?timeout=20000&since=${encodeURIComponent(since)}`);
      // The poll must be waiting before the message goes out.
      await this.alice.call("GET", "/account/whoami");
      const begun = performance.now();
      const sent = this.alice.send(this.room, this.transaction());
      since = (await poll).next_batch;
      times.push(performance.now() - begun);
      await sent;
    }
    return figures(times);
  }

  createRoom(runs) {
    return timed(runs, () => this.alice.call("POST", "/createRoom", { name: "Hearth" }));
  }

  messages(runs) {
    return timed(runs, () => this.alice.call("GET", room(this.room, "messages?dir=b&limit=50")));
  }

  /** A login, and the longest that another request had to wait meanwhile. */
  async login(runs) {
    let longest = 0;
    const login = await timed(runs, async () => {
      let done = false;
      const others = (async () => {
        while (!done) {
          const begun = performance.now();
          await this.alice.call("GET", "/account/whoami");
          longest = Math.max(longest, performance.now() - begun);
        }
      })();
      const identifier = { type: "m.id.user", user: "alice" };
      await new Client(this.base).call("POST", "/login", { type: "m.login.password", identifier, password: "correct horse battery staple" });
      done = true;
      await others;
    });
    return { ...login, longestStall: Math.round(longest) };
  }

  /** Brings a user's rooms to this number, each with 20 members, a name, 200 messages and receipts. */
  async populate(rooms) {
    this.people ??= await Promise.all(Array.from({ length: 20 }, (_, index) => this.register(`person${index}`)));
    this.populated ??= 0;
    for (; this.populated < rooms; this.populated += 1) {
      const [owner, ...others] = this.people;
      const { room_id: id } = await owner.call("POST", "/createRoom", { preset: "public_chat", name: `Room ${this.populated}` });
      await Promise.all(others.map((person) => person.call("POST", room(id, "join"), {})));
      let last;
      for (let message = 0; message < 200; message += 20) {
        const sent = await Promise.all(this.people.map((person) => person.send(id, this.transaction())));
        last = sent.at(-1).event_id;
      }
      await Promise.all(this.people.map((person) => person.call("POST", room(id, `receipt/m.read/${encodeURIComponent(last)}`), {})));
    }
  }

  initialSync(runs) {
    return timed(runs, () => this.people[0].call("GET", "/sync"));
  }

  /** A room of so many members and events, and sends there and in a new room of the same server by turns. */
  async bigRoom(members, events, runs) {
    const { room_id: id } = await this.alice.call("POST", "/createRoom", { preset: "public_chat" });
    for (let member = 0; member < members; member += 1) {
      await (await this.register(`member${member}`)).call("POST", room(id, "join"), {});
    }
    for (let sent = members; sent < events; sent += 8) {
      await Promise.all(Array.from({ length: 8 }, () => this.alice.send(id, this.transaction())));
    }
    const { room_id: other } = await this.alice.call("POST", "/createRoom", { preset: "public_chat" });
    const [inBig, inNew] = [[], []];
    for (let run = 0; run < runs; run += 1) {
      for (const [room, times] of [[other, inNew], [id, inBig]]) {
        const begun = performance.now();
        await this.alice.send(room, this.transaction());
        times.push(performance.now() - begun);
      }
    }
    return { inBig: figures(inBig), inNew: figures(inNew) };
  }
}
