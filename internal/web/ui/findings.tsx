// Findings: those of this window, made anew, and those made while recording.
import { useAsk } from "./store";
import { Choice, Show } from "./parts";
import { Finding } from "./finding";
import { go, href, usePlace } from "./place";
import type { Explanation } from "./types";

export function FindingsView() {
  const place = usePlace(), stored = place.args.stored === "1";
  const got = useAsk<Explanation>(stored ? "chains" : "explain");
  return <>
    <p class="bar"><Choice label="Which findings" value={stored ? "1" : ""} of={[["", "of this window, judged now"], ["1", "made while it was recorded"]]}
      set={v => go(href("findings", { ...place.args, stored: v }), true)} /></p>
    <Show of={got} empty={e => e.chains.length === 0 && <p><b>No findings.</b> {stored
      ? "While this was recorded, nothing took time from a job that it does not take when all is well."
      : "Nothing took time from the job that it does not take when all is well. A wider window may have some."}</p>}>
      {e => <>
        {e.notes.map(n => <p class="coverage" key={n}>{n}</p>)}
        {e.chains.map((c, i) => <Finding key={c.id} chain={c} open={place.args.id ? c.id === place.args.id : i === 0} />)}
      </>}
    </Show>
  </>;
}
