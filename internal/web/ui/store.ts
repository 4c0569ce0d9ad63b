// What all views share: the window they are about, and how they ask.
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { ask, AskError, Params } from "./api";
import type { Snapshots, Window } from "./types";

/** What a view needs to know of the page around it. */
export interface Scope {
  params: Params;   // since or from and to, and pid: given to every question
  window: Window;   // what they come to
  asked: string;    // what the person asked for: while it is the same, old answers may stay
  tick: number;     // counts announcements of new data
  theme: string;    // light or dark: what is drawn is drawn anew
}

export const ScopeContext = createContext<Scope>(null as unknown as Scope);
export const useScope = () => useContext(ScopeContext);

/** The state of a question. While it is asked again, the last answer stays. */
export interface Answer<A> { data?: A; error?: AskError; busy: boolean }

/** Asks a question about the scope, again when the scope or data change. */
export function useAsk<A>(name: string, more: Params = {}): Answer<A> {
  const { params, tick, asked } = useScope();
  return useQuestion<A>(name, { ...params, ...more }, tick, asked + JSON.stringify(more));
}

/** Asks a question, again when it or tick changes. The last answer stays
 *  meanwhile if it is to the same: what a person asked for, by default the
 *  parameters. */
export function useQuestion<A>(name: string, params: Params, tick: number, same = JSON.stringify(params)): Answer<A> {
  const [state, set] = useState<Answer<A>>({ busy: true });
  const text = name + JSON.stringify(params), what = name + same;
  const asked = useRef("");
  useEffect(() => {
    const stop = new AbortController();
    const stay = asked.current === what;
    asked.current = what;
    set(s => ({ data: stay ? s.data : undefined, error: undefined, busy: true }));
    ask<A>(name, params, stop.signal).then(
      data => set({ data, busy: false }),
      err => { if (err.name !== "AbortError") set(s => ({ data: s.data, error: err, busy: false })); },
    );
    return () => stop.abort();
  }, [text, tick]);
  return asked.current === what || !asked.current ? state : { busy: true };
}

/** The window that the arguments of a place come to. Without arguments it is
 *  the last minutes, or the last session if nothing is that recent. */
export function useWindow(args: Record<string, string>, tick: number): Answer<Window> {
  const { since, from, to } = args;
  const got = useQuestion<Snapshots>("snapshots", { since, from, to, points: 1 }, tick);
  return { data: got.data?.window, error: got.error, busy: got.busy };
}
