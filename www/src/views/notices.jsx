// Short words at the foot of the page after something was done or did not work out.
import { useEffect, useState } from "preact/hooks";
import { inWords } from "../hooks.js";

const SHOWN_MILLIS = 5000;
const notices = new EventTarget();

export const notify = (words) => notices.dispatchEvent(new CustomEvent("notice", { detail: words }));

/** Runs what has no place of its own for an error. */
export const attempt = (promise) => Promise.resolve(promise).catch((error) => notify(inWords(error)));

export function Notices() {
  const [words, setWords] = useState("");
  useEffect(() => {
    let timer;
    const show = ({ detail }) => {
      setWords(detail);
      clearTimeout(timer);
      timer = setTimeout(() => setWords(""), SHOWN_MILLIS);
    };
    notices.addEventListener("notice", show);
    return () => notices.removeEventListener("notice", show);
  }, []);
  return <div class="notices" role="status">{words && <p>{words}</p>}</div>;
}
