// Images and files: uploaded with their size known beforehand, and fetched with the account's token into object URLs.
import { useEffect, useState } from "preact/hooks";
import { MsgType } from "matrix-js-sdk";

/** Larger originals are shown through a thumbnail of this box, in device pixels: the largest that every server makes. */
const THUMBNAIL = { width: 800, height: 600, method: "scale" };
const SMALL_IMAGE = 300_000;

/** @type {Map<string, Promise<string>>} object URLs by account and address, for as long as the page lives */
const fetched = new Map();

/** SVG can carry scripts, and so it is never shown from somebody's upload. */
export const isShownAsImage = (type) => /^image\/(png|jpeg|gif|webp|avif|apng)$/.test(type ?? "");

/**
 * The address of authenticated media: https://spec.matrix.org/v1.19/client-server-api/#content-repository
 * (the SDK's own function forgets the path of a base URL).
 */
function mediaUrl(baseUrl, mxc, box) {
  const [, server, id] = /^mxc:\/\/([^/]+)\/([\w-]+)$/.exec(mxc) ?? [];
  if (!server) return null;
  const verb = box ? "thumbnail" : "download";
  const query = box ? `?width=${box.width}&height=${box.height}&method=${box.method}` : "";
  return `${baseUrl}/_matrix/client/v1/media/${verb}/${encodeURIComponent(server)}/${id}${query}`;
}

/** @returns {Promise<string>} an object URL of the media */
export function fetchMedia(session, mxc, box) {
  const url = mediaUrl(session.node.baseUrl, mxc, box);
  if (!url) return Promise.reject(new Error("That is not an address of media."));
  const key = `${session.userId} ${url}`;
  if (!fetched.has(key)) {
    const blobUrl = fetchBlob(url, session.client.getAccessToken()).then(URL.createObjectURL);
    blobUrl.catch(() => fetched.delete(key));
    fetched.set(key, blobUrl);
  }
  return fetched.get(key);
}

async function fetchBlob(url, token) {
  const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`The image could not be loaded (${response.status}).`);
  return response.blob();
}

/** @returns {{url?: string, error?: string, again: Function}} */
export function useMedia(session, mxc, box) {
  const [answer, setAnswer] = useState({});
  const [round, setRound] = useState(0);
  const boxKey = box && `${box.width} ${box.height} ${box.method}`;
  useEffect(() => {
    let wanted = true;
    setAnswer({});
    if (mxc) {
      fetchMedia(session, mxc, box).then(
        (url) => wanted && setAnswer({ url }),
        (error) => wanted && setAnswer({ error: error.message }),
      );
    }
    return () => (wanted = false);
  }, [session, mxc, boxKey, round]);
  return { ...answer, again: () => setRound(round + 1) };
}

/** What a message's image is fetched as: small or moving images themselves, others scaled down. */
export function boxFor(info = {}) {
  const small = (info.size ?? 0) < SMALL_IMAGE || info.mimetype === "image/gif";
  return small ? undefined : THUMBNAIL;
}

/** Uploads a file and sends the message about it; `onProgress` gets a share from 0 to 1. */
export async function sendFile(session, roomId, file, onProgress) {
  const size = await imageSize(file);
  const { content_uri: url } = await session.client.uploadContent(file, {
    name: file.name,
    type: file.type,
    progressHandler: ({ loaded, total }) => onProgress(total ? loaded / total : 0),
  });
  const msgtype = size ? MsgType.Image : MsgType.File;
  const info = { mimetype: file.type || "application/octet-stream", size: file.size, ...size };
  if (size && !boxFor(info)) keepLocal(session, url, file);
  return session.client.sendMessage(roomId, { msgtype, body: file.name || "image", filename: file.name || "image", url, info });
}

/** What was just uploaded need not be fetched again. */
function keepLocal(session, mxc, file) {
  fetched.set(`${session.userId} ${mediaUrl(session.node.baseUrl, mxc)}`, Promise.resolve(URL.createObjectURL(file)));
}

/** @returns {Promise<{w: number, h: number}|null>} null for what is no image */
export async function imageSize(file) {
  if (!isShownAsImage(file.type)) return null;
  try {
    const bitmap = await createImageBitmap(file);
    const size = { w: bitmap.width, h: bitmap.height };
    bitmap.close();
    return size;
  } catch {
    return null;
  }
}

/** Offers a file to be saved, since a link cannot carry the token. */
export async function saveFile(session, mxc, name) {
  const link = document.createElement("a");
  link.href = await fetchMedia(session, mxc);
  link.download = name;
  link.click();
}
