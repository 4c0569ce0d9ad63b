// The window and the process that all views are about.
import { useState } from "preact/hooks";
import { go, href, Place } from "./place";
import { useQuestion } from "./store";
import { ask } from "./api";
import type { Sessions, Window } from "./types";
import { moment, clock, printable, time } from "./units";

const spans = ["5m", "15m", "1h", "6h", "1d"];

/** Chooses the window. */
export function WindowBar({ place, window, tick }: { place: Place; window: Window; tick: number }) {
  const { since, from, to, pid } = place.args;
  const [open, setOpen] = useState(false);
  const set = (more: Record<string, string>) => go(href(place.view, { ...place.args, since: "", from: "", to: "", ...more }));
  const session = async () => {
    const all = (await ask<Sessions>("sessions", {}).catch(() => null))?.sessions ?? [];
    const last = all[all.length - 1];
    if (last) set({ from: last.started_at, to: last.stopped_at ?? "" });
  };
  return <div class="windowbar">
    <span class="choice" role="group" aria-label="Window">
      {spans.map(s => <button key={s} type="button" aria-pressed={since === s} onClick={() => set({ since: s })}>{s}</button>)}
      <button type="button" aria-pressed={!since && !from && !to} title="the last five minutes, or the last session if nothing is that recent" onClick={() => set({})}>latest</button>
      <button type="button" title="all of the last session" onClick={session}>session</button>
      <button type="button" aria-pressed={!!from || !!to} aria-expanded={open} onClick={() => setOpen(!open)}>from – to</button>
    </span>
    <Processes place={place} pid={pid} tick={tick} window={window} />
    <span class="quiet span" title={`${window.from} to ${window.to}`}>{moment(window.from)} – {sameDay(window) ? clock(window.to) : moment(window.to)} ({time(window.seconds * 1e9)})</span>
    {open && <FromTo window={window} set={w => { setOpen(false); set(w); }} />}
  </div>;
}

const sameDay = (w: Window) => new Date(w.from).toDateString() === new Date(w.to).toDateString();

function FromTo({ window, set }: { window: Window; set: (w: { from: string; to: string }) => void }) {
  const [from, setFrom] = useState(moment(window.from)), [to, setTo] = useState(moment(window.to));
  const [wrong, setWrong] = useState("");
  const submit = (e: Event) => {
    e.preventDefault();
    const [a, b] = [from, to].map(t => new Date(t.trim().replace(" ", "T")));
    if (isNaN(+a) || isNaN(+b)) return setWrong("Write it like 2026-01-31 15:40:00.");
    if (a >= b) return setWrong("The end is not after the begin.");
    set({ from: a.toISOString(), to: b.toISOString() });
  };
  return <form class="fromto" onSubmit={submit}>
    <label>from <input value={from} onInput={e => setFrom(e.currentTarget.value)} /></label>
    <label>to <input value={to} onInput={e => setTo(e.currentTarget.value)} /></label>
    <button type="submit">show</button>{wrong && <span class="problem" role="alert">{wrong}</span>}
  </form>;
}

function Processes({ place, pid, tick, window }: { place: Place; pid?: string; tick: number; window: Window }) {
  const got = useQuestion<Overview>("overview", { from: window.from, to: window.to }, tick, "");
  const all = got.data?.processes ?? [];
  const known = all.some(p => String(p.pid) === pid);
  return <label class="process">process <select value={pid ?? ""} onChange={e => go(href(place.view, { ...place.args, pid: e.currentTarget.value }))}>
    <option value="">all</option>
    {all.map(p => <option key={p.node + p.pid} value={p.pid}>{printable(p.comm)} {p.pid}</option>)}
    {pid && !known && <option value={pid}>{pid}</option>}
  </select></label>;
}

interface Overview { processes: { pid: number; comm: string; node: string }[]; recording: boolean }
