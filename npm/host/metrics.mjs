// Figures for Prometheus, in its text format. None of them names a user, a room or a server.
//
// https://prometheus.io/docs/instrumenting/exposition_formats/

const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The buckets of request times, in seconds: from what memory answers to what people wait for. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Counts what the host does. */
export class Metrics {
  #requests = new Map();
  #waiting = 0;
  #times = { client: histogram(), federation: histogram() };
  #started = Date.now();
  #store;
  #federation;

  constructor({ store, federation }) {
    this.#store = store;
    this.#federation = federation;
  }

  /** A request has come. */
  asked() {
    this.#waiting += 1;
  }

  /** It was answered, or its client has gone. Polls wait on purpose, and count among no times. */
  answered({ api, method, status, seconds, isPoll }) {
    this.#waiting -= 1;
    const key = `api="${api}",method="${METHODS.has(method) ? method : "other"}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    if (!isPoll) observe(this.#times[api], seconds);
  }

  /** The page, as the answer to a request. */
  async page() {
    const body = Buffer.from(this.#lines().join("\n") + "\n");
    return { status: 200, headers: [["content-type", CONTENT_TYPE], ["content-length", String(body.length)]], body: [body] };
  }

  #lines() {
    const { commits, batches, reads, scans } = this.#store.counts;
    const { answered, failed } = this.#federation.counts;
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    return [
      ...metric("inglenook_http_requests_total", "counter", "Requests answered.", [...this.#requests]),
      ...metric("inglenook_http_requests_waiting", "gauge", "Requests that are being answered.", [["", this.#waiting]]),
      ...metric("inglenook_http_request_seconds", "histogram", "Time to answer, polls left out.", this.#timeSamples()),
      ...metric("inglenook_federation_requests_total", "counter", "Requests to other servers.", [['outcome="answered"', answered], ['outcome="failed"', failed]]),
      ...metric("inglenook_store_commits_total", "counter", "Commits asked for.", [["", commits]]),
      ...metric("inglenook_store_batches_total", "counter", "Batches written; several commits may share one.", [["", batches]]),
      ...metric("inglenook_store_reads_total", "counter", "Look-ups of rows by key.", [["", reads]]),
      ...metric("inglenook_store_scans_total", "counter", "Reads of ranges.", [["", scans]]),
      ...metric("process_cpu_seconds_total", "counter", "Processor time.", [["", (cpu.user + cpu.system) / 1e6]]),
      ...metric("process_resident_memory_bytes", "gauge", "Memory in use.", [["", memory.rss]]),
      ...metric("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", [["", this.#started / 1000]]),
    ];
  }

  #timeSamples() {
    return Object.entries(this.#times).flatMap(([api, { counts, sum, total }]) => {
      let below = 0;
      const buckets = BUCKETS.map((bound, index) => [`api="${api}",le="${bound}"`, (below += counts[index]), "_bucket"]);
      return [...buckets, [`api="${api}",le="+Inf"`, total, "_bucket"], [`api="${api}"`, sum, "_sum"], [`api="${api}"`, total, "_count"]];
    });
  }
}

/** Anything may stand in a request line; what is no method would make a series of its own. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);

function histogram() {
  return { counts: BUCKETS.map(() => 0), sum: 0, total: 0 };
}

function observe(times, seconds) {
  const bucket = BUCKETS.findIndex((bound) => seconds <= bound);
  if (bucket >= 0) times.counts[bucket] += 1;
  times.sum += seconds;
  times.total += 1;
}

/** A metric with its samples: labels, value, and the suffix of its name. */
function metric(name, type, help, samples) {
  const lines = samples.map(([labels, value, suffix = ""]) => `${name}${suffix}${labels && `{${labels}}`} ${value}`);
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}
