// Files on their way: shown at the end of the timeline in their final size, with progress, retry and cancel.
import { useRef, useState } from "preact/hooks";
import { inWords, useColumn } from "../hooks.js";
import { imageSize, sendFile } from "../media.js";
import { Icon, IconButton } from "./icons.jsx";

/** @returns {{list: {id: number, file: File, preview?: string, share: number, error?: string}[], add: Function, retry: Function, drop: Function}} */
export function useUploads(room) {
  const { session } = useColumn();
  const [list, setList] = useState([]);
  const next = useRef(0);
  const change = (id, what) => setList((before) => before.map((upload) => (upload.id === id ? { ...upload, ...what } : upload)));
  const drop = (id) => setList((before) => before.filter((upload) => upload.id !== id));
  const send = (id, file) =>
    sendFile(session, room.roomId, file, (share) => change(id, { share })).then(
      () => drop(id),
      (error) => change(id, { error: inWords(error) }),
    );
  const addOne = async (file) => {
    const id = next.current++;
    const preview = (await imageSize(file)) && URL.createObjectURL(file);
    setList((before) => [...before, { id, file, preview, share: 0 }]);
    await send(id, file);
    if (preview) URL.revokeObjectURL(preview);
  };
  const retry = ({ id, file }) => {
    change(id, { error: undefined, share: 0 });
    return send(id, file);
  };
  return { list, add: (files) => [...files].forEach(addOne), retry, drop };
}

export function Uploads({ uploads }) {
  return uploads.list.map((upload) => (
    <li key={upload.id} class="message own last" data-testid="upload">
      <div class="message-body">
        <div class={`bubble ${upload.preview ? "picture" : ""} sending`}>
          {upload.preview ? <img class="preview" src={upload.preview} alt={upload.file.name} /> : <span class="file"><Icon name="file" size={24} /><span class="file-name">{upload.file.name}</span></span>}
          <progress max="1" value={upload.share} aria-label={`Sending ${upload.file.name}`} />
        </div>
        {upload.error && (
          <p class="not-sent" role="alert">
            <Icon name="alert" size={14} /> {upload.error}
            <button type="button" class="link" onClick={() => uploads.retry(upload)}>Try again</button>
            <IconButton icon="close" size={14} label="Do not send it" onClick={() => uploads.drop(upload.id)} />
          </p>
        )}
      </div>
    </li>
  ));
}
