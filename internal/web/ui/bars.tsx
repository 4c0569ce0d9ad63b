// The time of a thread: as one bar, and over time.
import { Chart, Span, Swatch } from "./chart";
import { stateColour, stateOrder, states } from "./colours";
import { useScope } from "./store";
import type { Chain, LedgerThread, Thread } from "./types";
import { percent, time } from "./units";
import { go, href, usePlace } from "./place";
import { colour } from "./colours";

/** The states of a thread with their shares of its time, best first. */
export function sharesOf(t: Thread): { state: string; ns: number; share: number }[] {
  const sum = new Map<string, number>();
  for (const c of t.ledger) sum.set(c.state, (sum.get(c.state) ?? 0) + c.ns);
  return stateOrder.filter(s => sum.has(s)).map(s => ({ state: s, ns: sum.get(s)!, share: sum.get(s)! / t.wall_ns }));
}

/** One bar of a thread's whole time. */
export function TimeBar({ thread }: { thread: Thread }) {
  const parts = sharesOf(thread);
  return <div class="timebar" role="img" aria-label={parts.map(p => `${p.state} ${percent(p.share)}`).join(", ")}>
    {parts.map(p => <i key={p.state} title={`${p.state} (${states[p.state]}): ${time(p.ns)}, ${percent(p.share)}`}
      style={{ width: p.share * 100 + "%", background: stateColour(p.state) }}>
      {p.share > 0.09 ? <span>{p.state} {percent(p.share)}</span> : null}
    </i>)}
  </div>;
}

/** The states that occur, with their colours. */
export function StateLegend({ threads }: { threads: Thread[] }) {
  useScope();
  const there = stateOrder.filter(s => threads.some(t => t.ledger.some(c => c.state === s)));
  return <p class="legend">{there.map(s => <span key={s} title={states[s]}><Swatch colour={stateColour(s)} text={s} /></span>)}</p>;
}

/** The spans of findings, for a chart. */
export function spansOf(chains: Chain[], end: string): Span[] {
  return chains.map(c => ({
    from: Date.parse(c.started_at) / 1000, to: Date.parse(c.ended_at ?? end) / 1000, colour: colour("severity-" + c.severity.toLowerCase()), text: c.cause.kind,
  }));
}

/** Where a thread's time went, step by step: the share of each state. */
export function TimeChart({ thread, step, spans, height }: { thread: LedgerThread; step: number; spans?: Span[]; height?: number }) {
  const zoom = useZoom(), { window } = useScope();
  const there = stateOrder.filter(s => thread.series.some(x => x.states_ns[s]));
  const series = there.map(s => ({ name: s, colour: stateColour(s), values: thread.series.map(x => (x.states_ns[s] ?? 0) / (step * 1e9)) }));
  return <Chart label={`Time of ${thread.comm} ${thread.tid} over time, by state`} stacked max={1} step={step} height={height}
    at={thread.series.map(x => Date.parse(x.at) / 1000)} series={series} spans={spans} unit={v => (v * 100).toFixed(v > 0 && v < 0.01 ? 2 : 0) + "%"} zoom={zoom}
    from={Math.floor(Date.parse(window.from) / 1000)} to={Math.ceil(Date.parse(window.to) / 1000)} />;
}

/** Returns what makes a span that was chosen in a chart the window of the page. */
export function useZoom() {
  const place = usePlace();
  return (from: number, to: number) => {
    if (to - from < 1) { from = Math.floor(from); to = from + 1; }
    const iso = (s: number) => new Date(s * 1000).toISOString();
    go(href(place.view, { ...place.args, since: undefined, from: iso(from), to: iso(to) }));
  };
}
