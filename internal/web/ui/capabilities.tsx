// What is measured, and for what is not, which tool does.
import { useScope, useQuestion } from "./store";
import { Panel, Show } from "./parts";
import { href, shared, usePlace } from "./place";
import type { Capabilities, Capability } from "./types";

// views that show what a question answers.
const views: Record<string, string> = { ops: "ops", stacks: "flame", "graph-metrics": "graphs", ledger: "ledger", thieves: "thieves", snapshots: "system" };

export function CapabilitiesView() {
  const { tick } = useScope();
  const got = useQuestion<Capabilities>("capabilities", {}, tick);
  return <Show of={got}>{a => {
    const groups = [...new Set(a.capabilities.map(c => c.group))];
    return <div class="tiles wide">{groups.map(g => <Panel key={g} title={g}>
      <ul class="capabilities">{a.capabilities.filter(c => c.group === g).map(c => <Entry key={c.name} c={c} />)}</ul>
    </Panel>)}</div>;
  }}</Show>;
}

function Entry({ c }: { c: Capability }) {
  const place = usePlace(), view = c.question && views[c.question];
  if (c.available) return <li><span class="yes" aria-hidden="true">✓</span> {view ? <a href={href(view, shared(place))}>{c.name}</a> : c.name}</li>;
  const why = `needs ${c.tool}${c.note ? ": " + c.note : ""}`;
  return <li class="missing" tabIndex={0} aria-label={`${c.name}: ${why}`}><span aria-hidden="true">–</span> {c.name} <span class="needs">needs {c.tool}</span><span class="hint" role="tooltip">{why}</span></li>;
}
