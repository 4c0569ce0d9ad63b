// Where the person is: the view and what it is about, kept in the address
// behind the #, so that it can be sent to a colleague.
import { useEffect, useState } from "preact/hooks";

/** A place: #/view?key=value. */
export interface Place { view: string; args: Record<string, string> }

export function parse(hash: string): Place {
  const [path, query] = hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path || "health", args: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** The address of a place. */
export function href(view: string, args: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(args)) if (v !== undefined && v !== "") q.set(k, String(v));
  const text = q.toString();
  return `#/${view}${text ? "?" + text : ""}`;
}

// scope are the arguments that go along from view to view.
const scope = ["since", "from", "to", "pid"];

/** The arguments of a place that every view shares. */
export function shared(p: Place): Record<string, string> {
  return Object.fromEntries(Object.entries(p.args).filter(([k]) => scope.includes(k)));
}

/** Goes to a place; replace: without a step in the browser's history. */
export function go(to: string, replace = false) {
  if (replace) {
    history.replaceState(null, "", to);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = to.slice(1);
}

export function usePlace(): Place {
  const [p, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const f = () => set(parse(location.hash));
    addEventListener("hashchange", f);
    return () => removeEventListener("hashchange", f);
  }, []);
  return p;
}
