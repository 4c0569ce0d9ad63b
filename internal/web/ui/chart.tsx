// Charts over time, drawn by uPlot.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { colour } from "./colours";
import { useScope } from "./store";
import { clock, printable } from "./units";

/** One line, or one part of a stack. */
export interface Series { name: string; colour: string; values: (number | null)[] }

/** A span of time to mark, unix seconds. */
export interface Span { from: number; to: number; colour: string; text: string }

interface Props {
  label: string;               // what it shows, for who cannot see it
  at: number[];                // unix seconds
  series: Series[];
  unit: (v: number) => string;
  stacked?: boolean;           // bars on top of each other; else lines
  step?: number;               // width of a bar, seconds
  max?: number;                // of the scale
  height?: number;
  spans?: Span[];
  from?: number; to?: number;  // of the scale
  zoom?: (from: number, to: number) => void; // a span was chosen by dragging
}

/** A chart. Dragging over it chooses a span of time. */
export function Chart(p: Props) {
  const box = useRef<HTMLDivElement>(null), tip = useRef<HTMLDivElement>(null);
  const { theme } = useScope();
  const shape = p.series.map(s => s.name + s.colour).join() + p.height + p.max + p.step + p.from + p.to + theme + JSON.stringify(p.spans ?? []);
  const props = useRef(p);
  props.current = p;
  const plot = useRef<uPlot | null>(null);
  useEffect(() => {
    const el = box.current!;
    const u = new uPlot(options(props, el.clientWidth, tip.current!), data(p), el);
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height: p.height ?? 160 }));
    watch.observe(el);
    return () => { watch.disconnect(); u.destroy(); plot.current = null; };
  }, [shape]);
  useEffect(() => { plot.current?.setData(data(p)); }, [p.at, p.series]);
  return <div class="chart" role="img" aria-label={p.label}>
    <div class="plot" ref={box} />
    <div class="tip" ref={tip} hidden />
    <p class="legend" aria-hidden="true">{p.series.map(s => <Swatch key={s.name} colour={s.colour} text={s.name} />)}</p>
  </div>;
}

/** A colour and what it stands for. */
export const Swatch = ({ colour, text }: { colour: string; text: string }) =>
  <span class="swatch"><i style={{ background: colour }} />{text}</span>;

// data are the columns as uPlot wants them; those of a stack are sums, the
// whole first, so that each is drawn over the one before.
function data(p: Props): uPlot.AlignedData {
  if (!p.stacked) return [p.at, ...p.series.map(s => s.values)] as uPlot.AlignedData;
  const sum = p.at.map(() => 0);
  const sums = p.series.map(s => s.values.map((v, i) => (sum[i] += v ?? 0)));
  return [p.at, ...sums.reverse()] as uPlot.AlignedData;
}

function options(props: { current: Props }, width: number, tip: HTMLElement): uPlot.Options {
  const p = props.current;
  const grid = { stroke: colour("grid"), width: 1 }, text = { stroke: colour("quiet"), font: "11px system-ui, sans-serif" };
  const lines = p.stacked ? [...p.series].reverse() : p.series;
  return {
    width: Math.max(width, 100), height: p.height ?? 160, padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: !p.stacked }, drag: { x: !!p.zoom, y: false, setScale: false } },
    scales: {
      x: { time: true, range: (_, min, max) => [p.from ?? min, p.to ?? max] },
      y: { range: (_, __, max) => [0, p.max ?? (max > 0 ? max * 1.08 : 1)] },
    },
    axes: [
      { ...text, grid, ticks: grid, size: 26, space: 70, values: (_, at) => at.map(x => clock(x * 1000)) },
      { ...text, grid, ticks: grid, size: 64, values: (_, at) => at.map(v => props.current.unit(v)) },
    ],
    series: [{}, ...lines.map(s => ({
      label: s.name, stroke: s.colour, width: p.stacked ? 0 : 1.5, fill: p.stacked ? s.colour : undefined, points: { show: p.at.length === 1 },
      paths: p.stacked ? bars(p) : undefined, spanGaps: false,
    }))],
    hooks: {
      draw: [u => mark(u, p.spans ?? [])],
      setCursor: [u => show(u, props.current, tip)],
      setSelect: [u => {
        if (u.select.width < 4) return;
        props.current.zoom?.(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
    },
  };
}

// bars are as wide as a step, from its begin.
function bars(p: Props): uPlot.Series.PathBuilder {
  return (u, i, from, to) => {
    const fill = new Path2D(), base = u.valToPos(0, "y", true);
    for (let k = from; k <= to; k++) {
      const v = u.data[i][k];
      if (v == null) continue;
      const x = u.valToPos(u.data[0][k], "x", true), end = u.valToPos(u.data[0][k] + (p.step ?? 1), "x", true);
      const y = u.valToPos(v, "y", true);
      fill.rect(x, y, Math.max(end - x - (end - x > 4 ? 1 : 0), 1), base - y);
    }
    return { fill, stroke: null, clip: null, flags: 1 } as unknown as uPlot.Series.Paths;
  };
}

function mark(u: uPlot, spans: Span[]) {
  const { left, top, width, height } = u.bbox;
  for (const s of spans) {
    const a = Math.max(u.valToPos(s.from, "x", true), left), b = Math.min(u.valToPos(s.to, "x", true), left + width);
    if (b <= a) continue;
    u.ctx.save();
    u.ctx.fillStyle = s.colour;
    u.ctx.fillRect(a, top - 5 * devicePixelRatio, b - a, 3 * devicePixelRatio);
    u.ctx.globalAlpha = 0.5;
    u.ctx.fillRect(a, top, 1, height);
    u.ctx.fillRect(b - 1, top, 1, height);
    u.ctx.restore();
  }
}

function show(u: uPlot, p: Props, tip: HTMLElement) {
  const { left, idx } = u.cursor;
  tip.hidden = left === undefined || left < 0 || idx == null;
  if (tip.hidden) return;
  let i = idx!;
  if (p.stacked) { // the bar under the pointer begins before it
    const x = u.posToVal(left!, "x");
    while (i > 0 && p.at[i] > x) i--;
  }
  const lines: Node[] = [line("", clock(p.at[i] * 1000), "")];
  for (const s of [...p.series].reverse()) {
    const v = s.values[i];
    if (v != null && (v > 0 || !p.stacked)) lines.push(line(s.colour, s.name, p.unit(v)));
  }
  tip.replaceChildren(...lines);
  const x = u.over.offsetLeft + left!;
  tip.style.left = (x > u.width / 2 ? x - tip.offsetWidth - 12 : x + 12) + "px";
}

function line(c: string, name: string, value: string): HTMLElement {
  const row = document.createElement("div"), dot = document.createElement("i"), a = document.createElement("span"), b = document.createElement("b");
  if (c) dot.style.background = c;
  a.textContent = printable(name);
  b.textContent = value;
  row.append(...(c ? [dot] : []), a, b);
  return row;
}
