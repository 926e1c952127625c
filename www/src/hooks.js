// What ties things that change by themselves (sessions, accounts, the address) to the views.
import { createContext } from "preact";
import { useCallback, useContext, useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

/** @type {import("preact").Context<{node: import("./node.js").Node, session: import("./session.js").Session, place: import("./route.js").Place, go: Function}>} */
export const Column = createContext(null);

/** The account, place and node that the view belongs to. Renders anew whenever the session changes. */
export function useColumn() {
  const column = useContext(Column);
  useChanges(column.session, "change");
  return { ...column, client: column.session.client, me: column.session.userId };
}

/** Renders anew at each event of that name. It listens before the browser draws: an effect after that would miss what changes in between. */
export function useChanges(target, name) {
  const [, render] = useReducer((count) => count + 1, 0);
  useLayoutEffect(() => {
    target?.addEventListener(name, render);
    return () => target?.removeEventListener(name, render);
  }, [target, name]);
}

/** A reference for what should have the focus as soon as it is there; the attribute counts once in a page's life. */
export const focused = (element) => element?.focus({ preventScroll: true });

/** Runs an effect that a person asked for: `[run, busy, error]`; an error is words that can be shown. */
export function useAction(effect) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const current = useRef(effect);
  current.current = effect;
  const run = useCallback(async (...args) => {
    setBusy(true);
    setError(null);
    try {
      return await current.current(...args);
    } catch (failure) {
      setError(inWords(failure));
    } finally {
      setBusy(false);
    }
  }, []);
  return [run, busy, error];
}

/** What an asynchronous question was answered: `{value, error, again}`; asked again when the key changes. */
export function useAnswer(question, key, everyMillis) {
  const [answer, setAnswer] = useState({});
  const [round, again] = useReducer((count) => count + 1, 0);
  useEffect(() => setAnswer({}), [key]);
  useEffect(() => {
    let wanted = true;
    question().then(
      (value) => wanted && setAnswer({ value }),
      (error) => wanted && setAnswer((before) => ({ ...before, error: inWords(error) })),
    );
    const timer = everyMillis && setTimeout(again, everyMillis);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [key, round]);
  return { ...answer, again };
}

/** The sentence of an error, without the SDK's prefix and request line. */
export function inWords(error) {
  if (error?.name === "ConnectionError") return "The server did not answer. Try again.";
  return error?.data?.error ?? error?.message ?? String(error);
}
