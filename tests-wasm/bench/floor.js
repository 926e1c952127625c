// The floor of a benchmark, run in the same worker before anything of ours: what an answered fetch costs by itself, and what
// it costs with one strict put.
{
  let database;
  const open = () =>
    (database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open("floor", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("rows");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }));
  let next = 0;
  const put = async () => {
    const transaction = (await open()).transaction("rows", "readwrite", { durability: "strict" });
    transaction.objectStore("rows").put(new Uint8Array(600), (next += 1));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  };
  const answer = () => new Response("{}", { headers: { "content-type": "application/json" } });
  self.addEventListener("fetch", (event) => {
    if (event.request.url.endsWith("/floor/empty")) event.respondWith(answer());
    if (event.request.url.endsWith("/floor/put")) event.respondWith(event.request.text().then(put).then(answer));
  });
}
