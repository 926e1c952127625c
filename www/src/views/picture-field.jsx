// A picture that can be replaced: shows the present one, uploads the chosen one, and hands on its address.
import { useRef } from "preact/hooks";
import { useAction, useColumn } from "../hooks.js";
import { Avatar } from "./avatar.jsx";
import { ErrorLine } from "./states.jsx";

export function PictureField({ id, name, mxc, square, disabled, onPicture }) {
  const { session, client } = useColumn();
  const input = useRef();
  const [upload, busy, error] = useAction(async (file) => {
    const { content_uri: url } = await client.uploadContent(file, { name: file.name, type: file.type });
    await onPicture(url);
  });
  return (
    <div class="picture-field">
      <Avatar session={session} id={id} name={name} mxc={mxc} size={72} square={square} />
      <div class="stack tight">
        <input ref={input} type="file" accept="image/png,image/jpeg,image/gif,image/webp" hidden data-testid="picture-input" onChange={({ target }) => target.files[0] && upload(target.files[0])} />
        {!disabled && <button type="button" class="button small" disabled={busy} onClick={() => input.current.click()}>{busy ? "Uploading…" : mxc ? "Change the picture" : "Choose a picture"}</button>}
        <ErrorLine error={error} />
      </div>
    </div>
  );
}
