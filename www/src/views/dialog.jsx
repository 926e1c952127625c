// Dialogs on the browser's own <dialog>: it keeps the focus, answers Escape, and gives the focus back.
import { useLayoutEffect, useRef } from "preact/hooks";

export function Dialog({ label, onClose, class: extra = "", children }) {
  const element = useRef();
  // Before the next key, which is meant for the dialog already.
  useLayoutEffect(() => element.current.showModal(), []);
  const closeFromBackdrop = ({ target }) => target === element.current && onClose();
  return (
    <dialog ref={element} class={`dialog ${extra}`} aria-label={label} onClose={onClose} onClick={closeFromBackdrop}>
      {children}
    </dialog>
  );
}

/** Asks before what cannot be undone. */
export function Confirm({ title, words, action, onConfirm, onClose }) {
  return (
    <Dialog label={title} onClose={onClose} class="confirm">
      <h2>{title}</h2>
      <p class="muted">{words}</p>
      <div class="row end">
        <button type="button" class="button" onClick={onClose}>Cancel</button>
        <button type="button" class="button danger" data-testid="confirm" autofocus onClick={() => (onClose(), onConfirm())}>{action}</button>
      </div>
    </Dialog>
  );
}
