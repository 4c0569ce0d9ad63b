// The drawing of the timeline: for each thread its states and its calls.
import { useEffect, useRef } from "preact/hooks";
import { colour, stateColour, stateOrder } from "./colours";
import { useScope } from "./store";
import type { Chain, Ledger, LedgerThread } from "./types";
import { after, clock, since, time } from "./units";
import { name, Placed } from "./timeline";

interface Props {
  calls: Placed[]; ledger: Ledger; chains: Chain[];
  base: string; whole: number;                                // begin of the window, and its length in ns
  view: [number, number]; setView: (v: [number, number]) => void; // what is in sight, ns since base
  chosen: Placed | null; choose: (e: Placed | null) => void;
}

const left = 8, top = 22, head = 16, states = 30, row = 18, gap = 12;

interface Lane { title: string; pid: number; tid: number; thread?: LedgerThread; rows: { name: string; calls: Placed[] }[]; y: number; height: number }

const laneKey = (...who: (string | number)[]) => who.join("\0");

// lanes are the threads, busiest first, below each other.
function lanes(p: Props): Lane[] {
  const all = new Map<string, Lane>();
  for (const q of p.ledger.processes) for (const t of q.threads) all.set(laneKey(q.node, q.pid, t.tid), { title: `${q.comm} ${t.tid}`, pid: q.pid, tid: t.tid, thread: t, rows: [], y: 0, height: 0 });
  for (const e of p.calls) {
    const key = laneKey(e.node, e.pid, e.tid);
    if (!all.has(key)) all.set(key, { title: `${e.comm} ${e.tid}`, pid: e.pid, tid: e.tid, rows: [], y: 0, height: 0 });
    const lane = all.get(key)!, what = e.op === "gap" ? "between calls" : e.source === "driver" || e.op.startsWith("cu") && !e.op.startsWith("cuda") ? "driver" : "runtime";
    let r = lane.rows.find(x => x.name === what);
    if (!r) lane.rows.push(r = { name: what, calls: [] });
    r.calls.push(e);
  }
  let y = top;
  const out = [...all.values()].filter(l => l.rows.length > 0 || l.thread).slice(0, 12);
  for (const l of out) {
    l.rows.sort((a, b) => b.name.localeCompare(a.name));
    l.y = y;
    l.height = head + (l.thread ? states + 3 : 0) + l.rows.length * row;
    y += l.height + gap;
  }
  return out;
}

export function Strip(p: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { theme } = useScope();
  const all = lanes(p), height = all.length ? all[all.length - 1].y + all[all.length - 1].height + 8 : 60;
  const state = useRef({ p, all });
  state.current = { p, all };
  useEffect(() => {
    const el = canvas.current!, paint = () => draw(el, state.current.p, state.current.all, height);
    paint();
    const watch = new ResizeObserver(paint);
    watch.observe(el.parentElement!);
    return () => watch.disconnect();
  }, [p.calls, p.ledger, p.chains, p.view[0], p.view[1], p.chosen, theme, height]);
  useEffect(() => {
    const el = canvas.current!;
    const wheel = (e: WheelEvent) => {
      if (!e.ctrlKey && Math.abs(e.deltaY) < Math.abs(e.deltaX)) return;
      if (!e.ctrlKey && !e.shiftKey && document.activeElement !== el) return; // so that the page still scrolls
      e.preventDefault();
      const q = state.current.p, at = (e.offsetX - left) / (el.clientWidth - 2 * left);
      q.setView(zoom(q, Math.exp(e.deltaY / 400), at));
    };
    el.addEventListener("wheel", wheel, { passive: false });
    return () => el.removeEventListener("wheel", wheel);
  }, []);
  const drag = useRef<{ x: number; view: [number, number]; moved: boolean } | null>(null);
  const scale = () => (p.view[1] - p.view[0]) / (canvas.current!.clientWidth - 2 * left);
  return <div class="strip"><canvas ref={canvas} tabIndex={0} role="img" height={height}
    aria-label={`Calls and states of ${all.length} threads. Arrow keys move, plus and minus zoom, 0 shows all, n and p choose the next and previous slow call; the table below has the slowest.`}
    onKeyDown={e => key(e, p)}
    onPointerDown={e => { drag.current = { x: e.offsetX, view: p.view, moved: false }; canvas.current!.setPointerCapture(e.pointerId); }}
    onPointerMove={e => {
      const d = drag.current;
      if (!d || Math.abs(e.offsetX - d.x) < 3 && !d.moved) return;
      d.moved = true;
      p.setView(within(p, d.view[0] - (e.offsetX - d.x) * scale(), d.view[1] - d.view[0]));
    }}
    onPointerUp={e => {
      if (drag.current && !drag.current.moved) p.choose(find(p, all, e.offsetX, e.offsetY, scale()));
      drag.current = null;
    }} /></div>;
}

function within(p: Props, from: number, length: number): [number, number] {
  const l = Math.min(Math.max(length, 2000), p.whole), a = Math.min(Math.max(from, 0), p.whole - l);
  return [a, a + l];
}

function zoom(p: Props, by: number, at = 0.5): [number, number] {
  const l = p.view[1] - p.view[0], fixed = p.view[0] + l * at, next = Math.min(Math.max(l * by, 2000), p.whole);
  return within(p, fixed - next * at, next);
}

function key(e: KeyboardEvent, p: Props) {
  const l = p.view[1] - p.view[0];
  const moves: Record<string, () => void> = {
    ArrowLeft: () => p.setView(within(p, p.view[0] - l / 5, l)), ArrowRight: () => p.setView(within(p, p.view[0] + l / 5, l)),
    "+": () => p.setView(zoom(p, 0.5)), "=": () => p.setView(zoom(p, 0.5)), "-": () => p.setView(zoom(p, 2)), "0": () => p.setView([0, p.whole]),
    n: () => step(p, 1), p: () => step(p, -1),
  };
  if (!moves[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault();
  e.stopPropagation();
  moves[e.key]();
}

// step chooses the next of the slow calls in time.
function step(p: Props, by: number) {
  const slow = [...p.calls].sort((a, b) => b.duration_ns - a.duration_ns).slice(0, 100).sort((a, b) => a.from - b.from);
  if (!slow.length) return;
  const i = p.chosen ? slow.findIndex(e => e.from >= p.chosen!.from && e.tid === p.chosen!.tid) : -1;
  const e = slow[(Math.max(i, by > 0 ? -1 : 0) + by + slow.length) % slow.length];
  p.choose(e);
  p.setView(within(p, e.from + e.duration_ns / 2 - e.duration_ns * 3, e.duration_ns * 6));
}

function find(p: Props, all: Lane[], x: number, y: number, perPixel: number): Placed | null {
  for (const l of all) {
    const first = l.y + head + (l.thread ? states + 3 : 0), i = Math.floor((y - first) / row);
    if (y < first || i >= l.rows.length) continue;
    const at = p.view[0] + (x - left) * perPixel, slack = 2 * perPixel;
    const hit = l.rows[i].calls.filter(e => e.from - slack <= at && e.from + e.duration_ns + slack >= at);
    return hit.sort((a, b) => b.duration_ns - a.duration_ns)[0] ?? null;
  }
  return null;
}

function draw(el: HTMLCanvasElement, p: Props, all: Lane[], height: number) {
  const width = el.parentElement!.clientWidth, ratio = devicePixelRatio || 1;
  el.width = width * ratio;
  el.height = height * ratio;
  el.style.height = height + "px";
  const g = el.getContext("2d")!, [a, b] = p.view, scale = (width - 2 * left) / (b - a);
  const x = (ns: number) => left + (ns - a) * scale;
  g.scale(ratio, ratio);
  g.font = "11px system-ui, sans-serif";
  ruler(g, p, width, height, x);
  for (const c of p.chains) band(g, x(since(c.started_at, p.base)), c.ended_at ? x(since(c.ended_at, p.base)) : width, height, colour("severity-" + c.severity.toLowerCase()));
  g.beginPath();
  g.rect(left, 0, width - 2 * left, height);
  g.clip();
  for (const l of all) {
    g.fillStyle = colour("text");
    g.fillText(l.title, left + 2, l.y + 11);
    let y = l.y + head;
    if (l.thread) {
      ledgerBars(g, p, l.thread, y, x);
      y += states + 3;
    }
    for (const r of l.rows) {
      for (const e of r.calls) if (e.from < b && e.from + e.duration_ns > a) call(g, p, e, y, x);
      g.fillStyle = colour("panel");
      g.globalAlpha = 0.8;
      g.fillRect(left, y, g.measureText(r.name).width + 8, row - 4);
      g.globalAlpha = 1;
      g.fillStyle = colour("quiet");
      g.fillText(r.name, left + 4, y + row / 2 + 2);
      y += row;
    }
  }
}

function ruler(g: CanvasRenderingContext2D, p: Props, width: number, height: number, x: (ns: number) => number) {
  const [a, b] = p.view, want = (b - a) / Math.max(width / 130, 2), ten = 10 ** Math.floor(Math.log10(want));
  const step = [1, 2, 5, 10].map(k => k * ten).find(s => s >= want)!;
  for (let t = Math.ceil(a / step) * step; t <= b; t += step) {
    g.fillStyle = colour("grid");
    g.fillRect(x(t), 16, 1, height - 16);
    g.fillStyle = colour("quiet");
    const at = after(p.base, t), digits = Math.max(9 - Math.floor(Math.log10(step)), 0);
    g.fillText(clock(at) + (digits ? /\.\d+/.exec(at)![0].slice(0, digits + 1) : ""), x(t) + 3, 12);
  }
}

function band(g: CanvasRenderingContext2D, a: number, b: number, height: number, c: string) {
  g.fillStyle = c;
  g.globalAlpha = 0.1;
  g.fillRect(Math.max(a, left), 16, Math.max(b - Math.max(a, left), 1), height - 16);
  g.globalAlpha = 1;
  g.fillRect(Math.max(a, left), 16, Math.max(b - Math.max(a, left), 1), 2);
}

function ledgerBars(g: CanvasRenderingContext2D, p: Props, t: LedgerThread, y: number, x: (ns: number) => number) {
  const step = p.ledger.step_seconds * 1e9;
  for (const s of t.series) {
    const from = since(s.at, p.base), w = Math.max(x(from + step) - x(from) - 1, 1);
    let at = y + states;
    for (const state of stateOrder) {
      const h = (s.states_ns[state] ?? 0) / step * states;
      if (h <= 0) continue;
      g.fillStyle = stateColour(state);
      g.fillRect(x(from), at - h, w, h);
      at -= h;
    }
  }
}

function call(g: CanvasRenderingContext2D, p: Props, e: Placed, y: number, x: (ns: number) => number) {
  const from = x(e.from), w = Math.max(x(e.from + e.duration_ns) - from, 1), h = row - 4;
  let at = from;
  const parts: [string, number][] = e.running_ns === undefined ? [["other", e.duration_ns]] : [["running", e.running_ns], ["runnable", e.runnable_ns!], ["lock", e.blocked_ns!]];
  for (const [state, ns] of parts) {
    const part = w * ns / Math.max(e.duration_ns, 1);
    if (part <= 0) continue;
    g.fillStyle = stateColour(state);
    g.fillRect(at, y, Math.max(part, 0.6), h);
    at += part;
  }
  if (w > 60) {
    g.save();
    g.beginPath();
    g.rect(from, y, w, h);
    g.clip();
    g.fillStyle = colour("on-state");
    g.fillText(`${name(e)} ${time(e.duration_ns)}`, Math.max(from, left) + 4, y + h - 3);
    g.restore();
  }
  if (p.chosen && p.chosen.from === e.from && p.chosen.tid === e.tid && p.chosen.op === e.op) {
    g.strokeStyle = colour("text");
    g.lineWidth = 2;
    g.strokeRect(from - 1, y - 1, w + 2, h + 2);
  }
}
