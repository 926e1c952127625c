// A listener for a host that has none, such as a node in a browser: what it is asked is asked in the page.

import { createServer } from "node:http";

/** What a page may set, and a homeserver reads. */
const HEADERS = ["authorization", "content-type"];

/** The URL at which clients reach the host, also when it has been started anew. */
export async function bridge(t, host) {
  const server = createServer(async (request, response) => {
    const { status, headers, body } = await pass(host, request);
    const type = headers?.get("content-type");
    response.writeHead(status, type ? { "content-type": type } : {}).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

async function pass(host, request) {
  const chunks = await request.toArray();
  const headers = Object.fromEntries(HEADERS.filter((name) => request.headers[name]).map((name) => [name, request.headers[name]]));
  const body = chunks.length ? Buffer.concat(chunks) : undefined;
  // A page that is being closed answers nothing; clients ask again, as they do behind any proxy.
  const answer = await host.call(request.method, request.url, { headers, body }).catch(() => ({ status: 502 }));
  return { ...answer, body: answer.body === undefined || Buffer.isBuffer(answer.body) ? answer.body : JSON.stringify(answer.body) };
}
