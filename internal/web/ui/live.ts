// Tells when there is something new. The stream is read with fetch, which
// unlike EventSource can carry a token. While the tab is hidden nothing is
// asked.
import { call } from "./api";

// least is the shortest time between two announcements, ms: a person reads no
// faster, and each announcement asks the view's questions again.
const least = 2000;

/** What is known of the stream. */
export type Link = "live" | "paused" | "waiting" | "off";

/** Calls changed on new data and state on a change of the stream's state,
 *  until the function that is returned is called. */
export function follow(changed: () => void, state: (s: Link) => void): () => void {
  let stop = new AbortController(), ended = false, last = 0, timer = 0, known = "";
  const told = (newest: string) => {
    if (known && newest !== known) announce(); // the first is what the page was made from
    known = newest;
  };
  const announce = () => {
    if (timer) return;
    timer = window.setTimeout(() => { timer = 0; last = Date.now(); changed(); }, Math.max(0, last + least - Date.now()));
  };
  const run = async () => {
    const mine = stop;
    for (let wait = 1000; !mine.signal.aborted; wait = Math.min(2 * wait, 30000)) {
      try {
        const r = await call("live", { signal: mine.signal, headers: { Accept: "text/event-stream" } });
        state("live");
        wait = 500;
        await read(r, told);
      } catch (err) {
        if (mine.signal.aborted) return;
        if ([401, 404].includes((err as { status?: number }).status ?? 0)) return state("off");
      }
      if (mine.signal.aborted) return;
      state("waiting");
      await new Promise(f => setTimeout(f, wait));
    }
  };
  const visible = () => {
    stop.abort();
    if (ended) return;
    if (document.hidden) return state("paused");
    stop = new AbortController();
    run();
  };
  document.addEventListener("visibilitychange", visible);
  visible();
  return () => { ended = true; clearTimeout(timer); document.removeEventListener("visibilitychange", visible); stop.abort(); };
}

async function read(r: Response, told: (newest: string) => void) {
  const reader = r.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split(/\r?\n\r?\n/);
    text = events.pop()!;
    for (const e of events) if (/^event: ?changed$/m.test(e)) told(/^data: ?(.*)$/m.exec(e)?.[1] ?? "");
  }
}
