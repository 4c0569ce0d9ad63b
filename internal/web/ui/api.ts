// Questions to the server.

/** A failed question; the text is for people. */
export class AskError extends Error {
  constructor(text: string, public status: number) { super(text); }
}

const key = "ingero-token";
let wanted: ((again: boolean) => void) | null = null;

/** Calls f when the server asks for a token; again: that given was wrong. */
export function onTokenWanted(f: (again: boolean) => void) { wanted = f; }
export function setToken(token: string) { sessionStorage.setItem(key, token); }

function headers(): Record<string, string> {
  const token = sessionStorage.getItem(key);
  return token ? { Authorization: "Bearer " + token } : {};
}

/** Fetches a path of the API. */
export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  let r: Response;
  try {
    r = await fetch("api/v1/" + path, { ...init, headers: { ...headers(), ...(init.headers as Record<string, string>) } });
  } catch (err) {
    if ((err as Error).name === "AbortError") throw err;
    throw new AskError("The dashboard does not answer. Is 'ingero dashboard' still running?", 0);
  }
  if (r.ok) return r;
  if (r.status === 401) wanted?.(sessionStorage.getItem(key) !== null);
  let text = `${r.status} ${r.statusText}`;
  try {
    text = (await r.json()).error ?? text;
  } catch { /* not JSON: the status says it */ }
  throw new AskError(text, r.status);
}

export type Params = Record<string, string | number | boolean | undefined>;

/** Asks a question. Empty parameters are left out. */
export async function ask<A>(name: string, params: Params, signal?: AbortSignal): Promise<A> {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== "" && v !== false) q.set(k, String(v));
  const text = q.toString();
  return (await call(name + (text ? "?" + text : ""), { signal })).json();
}

/** Runs SQL that reads. */
export async function sql<A>(text: string): Promise<A> {
  return (await call("query", { method: "POST", body: JSON.stringify({ sql: text }), headers: { "Content-Type": "application/json" } })).json();
}
