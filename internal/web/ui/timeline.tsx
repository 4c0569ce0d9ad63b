// Calls and states of threads around a finding, to zoom into.
import { useMemo, useState } from "preact/hooks";
import { useAsk, useScope } from "./store";
import { Fact, Name, Panel, Severity, Show, Stack } from "./parts";
import { Grid } from "./grid";
import { Strip } from "./strip";
import { StateLegend } from "./bars";
import { Swatch } from "./chart";
import { stateColour } from "./colours";
import { Nothing } from "./health";
import { words } from "./finding";
import { go, href, usePlace } from "./place";
import type { Chain, Event, Events, Explanation, Ledger } from "./types";
import { after, bytes, clock, count, printable, since, time } from "./units";

// most is how many events are asked for: as many as there ever are.
const most = 10000;

/** A recorded call with its begin as ns since the window's. */
export type Placed = Event & { from: number };

export function TimelineView() {
  const events = useAsk<Events>("events", { limit: most, slowest: true }), ledger = useAsk<Ledger>("ledger", { points: 600 }), found = useAsk<Explanation>("chains");
  const { window } = useScope(), place = usePlace();
  const [chosen, choose] = useState<Placed | null>(null);
  const [view, setView] = useState<[number, number] | null>(null);
  const base = events.data?.window.from ?? window.from, whole = (events.data?.window.seconds ?? window.seconds) * 1e9;
  const calls = useMemo(() => (events.data?.events ?? []).filter(shown).map(e => ({ ...e, from: since(e.timestamp, base) })), [events.data]);
  const [a, b] = view ?? [0, whole];
  // All at once: what comes later would move what is already there.
  const late = [ledger, found].find(x => !x.data && (x.busy || x.error));
  const got = events.data && late ? { busy: late.busy, error: late.error } : events;
  const chains = found.data?.chains ?? [];
  const look = (e: Placed) => {
    choose(e);
    const w = Math.max(e.duration_ns * 6, 1e6), middle = e.from + e.duration_ns / 2;
    setView([Math.max(0, middle - w / 2), Math.min(whole, middle + w / 2)]);
  };
  const settle = () => { setView(null); go(href("timeline", { ...place.args, since: "", from: after(base, a), to: after(base, b) })); };
  return <Show<Events> of={got} empty={x => x.events.length === 0 && (ledger.data?.processes.length ?? 0) === 0 && <Nothing />}>{x => <>
    <Panel title="Timeline" note={note(x, calls)} tools={view && <><button type="button" onClick={() => setView(null)}>whole window</button>
      <button type="button" onClick={settle} title="asks for the recorded calls of this span: more of them than the whole window shows">look at this span only</button></>}>
      <Chosen chains={chains} id={place.args.id} />
      {ledger.data && <Strip calls={calls} ledger={ledger.data} chains={chains} base={base} whole={whole} view={[a, b]} setView={v => setView(v)} chosen={chosen} choose={choose} />}
      {ledger.data && <StateLegend threads={ledger.data.processes.flatMap(p => p.threads)} />}
      <p class="legend">Of a call, how much of it (not when in it) was <Swatch colour={stateColour("running")} text="running" /><Swatch colour={stateColour("runnable")} text="waiting for a CPU" /><Swatch colour={stateColour("lock")} text="blocked" /></p>
    </Panel>
    {chosen && <Call e={chosen} />}
    <Panel title="Slowest recorded calls and gaps" note="of those in sight; choose one to look at it">
      <Grid label="Slowest calls" sort={3} most={12} rows={calls.filter(e => e.from < b && e.from + e.duration_ns > a).sort((p, q) => q.duration_ns - p.duration_ns).slice(0, 100)} columns={[
        { head: "at", show: e => <button type="button" class="link" onClick={() => look(e)}>{stamp(e)}</button>, by: e => e.from },
        { head: "thread", show: e => <Name comm={e.comm} pid={e.tid} />, by: e => e.tid, wide: true },
        { head: "call", show: e => name(e), by: e => name(e) },
        { head: "took", right: true, show: e => time(e.duration_ns), by: e => e.duration_ns },
        { head: "running", right: true, show: e => part(e.running_ns), by: e => e.running_ns ?? null },
        { head: "waiting for a CPU", right: true, show: e => part(e.runnable_ns), by: e => e.runnable_ns ?? null },
        { head: "blocked", right: true, show: e => part(e.blocked_ns), by: e => e.blocked_ns ?? null },
      ]} />
    </Panel>
  </>}</Show>;
}

// shown are the events that a thread was in: those of the host have no length.
const shown = (e: Event) => e.source !== "host" || e.op === "gap";
const part = (ns?: number) => (ns === undefined ? "–" : time(ns));
export const name = (e: Event) => (e.op === "gap" ? "between calls" : e.op);
const stamp = (e: Event) => clock(e.timestamp) + (/\.\d{3}/.exec(e.timestamp)?.[0] ?? "");

function note(x: Events, calls: Placed[]): string {
  const text = `${count(calls.length)} recorded calls and gaps; drag, wheel or arrow keys move and zoom`;
  return x.events.length < most ? text : `${text}. These are the slowest: zoom in and look at a shorter span for the rest`;
}

function Chosen({ chains, id }: { chains: Chain[]; id?: string }) {
  const c = chains.find(x => x.id === id);
  return c ? <p class="row"><Severity of={c.severity} /> {words(c.cause.kind)}: {printable(c.cause.summary)}</p> : null;
}

function Call({ e }: { e: Placed }) {
  return <Panel title={name(e)} id="call" note={stamp(e)}>
    <dl class="facts">
      <Fact label="took" class="big">{time(e.duration_ns)}</Fact>
      <Fact label="running">{part(e.running_ns)}</Fact><Fact label="waiting for a CPU">{part(e.runnable_ns)}</Fact><Fact label="blocked">{part(e.blocked_ns)}</Fact>
      <Fact label="thread"><Name comm={e.comm} pid={e.tid} /></Fact>
      {e.bytes > 0 && <Fact label="bytes">{bytes(e.bytes)}</Fact>}
      {e.handle !== "0x0" && <Fact label="handle"><code>{e.handle}</code></Fact>}
      {e.ret_code !== 0 && <Fact label="result"><b class="bad">{e.ret_code}</b></Fact>}
    </dl>
    {e.stack && e.stack.length > 0 ? <Stack frames={e.stack} /> : <p class="quiet">No stack was taken.</p>}
  </Panel>;
}
