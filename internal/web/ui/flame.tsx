// Which code the time came from: a flame graph, the caller above the called.
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useAsk } from "./store";
import { Choice, Panel, Show } from "./parts";
import { coverage } from "./health";
import { go, href, usePlace } from "./place";
import type { Frame, Stacks } from "./types";
import { count, frame, percent, time } from "./units";

/** A place in the code, with what was called from it. */
interface Node { name: string; kind: string; value: number; calls: number; below: Node[]; up: Node | null; depth: number; x: number }

// rows and least bound what is drawn: deeper or narrower is not readable.
const rows = 40, least = 0.0015, height = 20;

export function FlameView() {
  const place = usePlace(), all = place.args.time === "1", only = place.args.frames ?? "all";
  const got = useAsk<Stacks>("stacks", { lost: !all, limit: 2000 });
  const root = useMemo(() => got.data && tree(got.data, all, only), [got.data, all, only]);
  const set = (more: Record<string, string>) => go(href("flame", { ...place.args, ...more }), true);
  return <Show of={got} empty={a => a.stacks.length === 0 && <p><b>No stack was recorded in this window.</b> They are taken unless <code>ingero trace --stack=false</code> says otherwise.</p>}>{a =>
    <Panel title={all ? "Time by code" : "Lost time by code"} note={all ? "of recorded calls and gaps between calls" : "of recorded calls and gaps: waiting for a CPU, or blocked"} tools={<>
      <Choice label="Time" value={all ? "1" : ""} of={[["", "lost"], ["1", "all"]]} set={v => set({ time: v })} />
      <Choice label="Frames" value={only} of={[["all", "all frames"], ["lines", "without the interpreter"], ["py", "Python only"]]} set={v => set({ frames: v })} />
    </>}>
      {root?.value === 0 && <p class="empty">{all ? "No call took any time." : "In what was recorded no thread waited, or its waits were not measured. All time of calls is under “all”."}</p>}
      {root && root.value > 0 && <Flames key={only + all} root={root} />}
      <p class="coverage">{coverage(a.coverage)}. The widths are of what was recorded.</p>
    </Panel>}</Show>;
}

// tree puts stacks together, from the outermost frame.
function tree(a: Stacks, all: boolean, only: string): Node {
  const root: Node = { name: "all", kind: "root", value: 0, calls: 0, below: [], up: null, depth: 0, x: 0 };
  for (const s of a.stacks) {
    const value = all ? s.total_ns : s.runnable_ns + s.blocked_ns;
    if (value <= 0) continue;
    const path = [...s.stack].filter(f => wanted(f, only)).reverse().map(f => ({ name: frame(f).replace(/\+0x[0-9a-f]+/, ""), kind: f.py_func || f.py_file ? "py" : "native" }));
    path.push({ name: s.op === "gap" ? "between calls, before this call" : s.op, kind: "op" });
    let at = root;
    root.value += value;
    root.calls += s.count;
    for (const f of path) {
      let n = at.below.find(x => x.name === f.name && x.kind === f.kind);
      if (!n) at.below.push(n = { ...f, value: 0, calls: 0, below: [], up: at, depth: at.depth + 1, x: 0 });
      n.value += value;
      n.calls += s.count;
      at = n;
    }
  }
  place(root);
  return root;
}

function wanted(f: Frame, only: string): boolean {
  if (only === "all" || f.py_func || f.py_file) return true;
  return only === "lines" && !/^(libpython|_ctypes|libffi|python)/.test(f.file ?? "");
}

function place(n: Node) {
  n.below.sort((a, b) => b.value - a.value);
  let x = n.x;
  for (const c of n.below) { c.x = x; x += c.value; place(c); }
}

function Flames({ root }: { root: Node }) {
  const [top, setTop] = useState(root), [at, setAt] = useState(root);
  const box = useRef<SVGSVGElement>(null);
  const drawn: Node[] = [];
  const add = (n: Node) => { drawn.push(n); for (const c of n.below) if (c.value / top.value >= least && c.depth - top.depth < rows) add(c); };
  add(top);
  const deepest = Math.max(...drawn.map(n => n.depth)) - top.depth + 1;
  const index = drawn.indexOf(at) < 0 ? 0 : drawn.indexOf(at);
  const focus = (n: Node | undefined) => {
    if (!n || !drawn.includes(n)) return;
    setAt(n);
    (box.current?.querySelector(`[data-i="${drawn.indexOf(n)}"]`) as SVGElement | null)?.focus();
  };
  const zoom = (n: Node) => { setTop(n); setAt(n); };
  useLayoutEffect(() => { if (top !== root || at !== root) (box.current?.querySelector('[data-i="0"]') as SVGElement | null)?.focus(); }, [top]);
  const key = (e: KeyboardEvent) => {
    const peers = at.up?.below ?? [], i = peers.indexOf(at);
    const moves: Record<string, () => void> = {
      ArrowDown: () => focus(at.below[0]), ArrowUp: () => at !== top && focus(at.up ?? undefined), ArrowLeft: () => focus(peers[i - 1]), ArrowRight: () => focus(peers[i + 1]),
      Enter: () => zoom(at), " ": () => zoom(at), Escape: () => zoom(top.up ?? top), Home: () => zoom(root),
    };
    if (!moves[e.key]) return;
    e.preventDefault();
    e.stopPropagation();
    moves[e.key]();
  };
  return <>
    <p class="row path" aria-label="Zoomed to">{path(top).map((n, i) => <>{i > 0 && " › "}<button type="button" class="link" onClick={() => zoom(n)}>{n.name}</button></>)}</p>
    <svg ref={box} class="flame" role="group" aria-label="Flame graph: arrow keys move, Enter zooms in, Escape out" width="100%" height={deepest * height} onKeyDown={key}>
      {drawn.map((n, i) => {
        const x = Math.max((n.x - top.x) / top.value, 0) * 100, w = Math.min(n.value / top.value, 1) * 100;
        return <svg key={i} x={x + "%"} y={(n.depth - top.depth) * height} width={w + "%"} height={height - 1}>
          <g data-i={i} class={n.kind} role="button" tabIndex={i === index ? 0 : -1} aria-label={`${n.name}: ${time(n.value)}, ${percent(n.value / root.value)}`}
            onClick={() => zoom(n)} onFocus={() => setAt(n)} onPointerEnter={() => setAt(n)}>
            <rect width="100%" height="100%" rx="2" />
            {w > 2 && <text x="4" y="13">{n.name}</text>}
          </g>
        </svg>;
      })}
    </svg>
    <p class="row under" aria-live="polite"><b>{at.name}</b> <span>{time(at.value)}, {percent(at.value / root.value)} of all, {count(at.calls)} recorded</span></p>
  </>;
}

function path(n: Node): Node[] {
  const out: Node[] = [];
  for (let x: Node | null = n; x; x = x.up) out.unshift(x);
  return out.length > 4 ? [out[0], ...out.slice(-3)] : out;
}
