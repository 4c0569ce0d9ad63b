// Operations: exact counts and percentiles, and how they changed.
import { useState } from "preact/hooks";
import { useAsk } from "./store";
import { Choice, Name, Panel, Show } from "./parts";
import { Column, Grid } from "./grid";
import { Chart } from "./chart";
import { lineColour } from "./colours";
import { useZoom } from "./bars";
import { coverage, Nothing } from "./health";
import { go, href, usePlace } from "./place";
import { useScope } from "./store";
import type { History, Op, OpStep, Ops } from "./types";
import { bytes, count, time } from "./units";

export function OpsView() {
  const place = usePlace(), each = place.args.each === "1", chosen = place.args.op;
  const got = useAsk<Ops>("ops", { per_process: each });
  const [text, setText] = useState("");
  const set = (more: Record<string, string>) => go(href("ops", { ...place.args, ...more }), true);
  return <Show of={got} empty={a => a.ops.length === 0 && <Nothing />}>{a => <>
    {chosen && <OpHistory op={chosen} close={() => set({ op: "" })} />}
    <Panel title="Operations" note="exact: every call is counted; choose one for its history" tools={<>
      <input type="search" placeholder="filter, such as Memcpy" aria-label="Filter operations" value={text} onInput={e => setText(e.currentTarget.value)} />
      <Choice label="Rows" value={each ? "1" : ""} of={[["", "all processes"], ["1", "per process"]]} set={v => set({ each: v })} />
    </>}>
      <Grid label="Table of operations" most={100} rows={a.ops.filter(o => matches(o, text))} columns={columns(each, op => set({ op }))}
        key={String(each)} row={o => ({ class: o.op === chosen ? "chosen" : "" })} />
      <p class="coverage">{coverage(a.coverage)}</p>
    </Panel>
  </>}</Show>;
}

function matches(o: Op, text: string): boolean {
  const t = text.toLowerCase();
  return !t || [o.op, o.function, o.source, o.class, o.comm ?? "", String(o.pid ?? "")].some(x => x.toLowerCase().includes(t));
}

function columns(each: boolean, choose: (op: string) => void): Column<Op>[] {
  const ns = (head: string, of: (o: Op) => number, title?: string): Column<Op> => ({ head, title, right: true, show: o => (o.total_ns ? time(of(o)) : "–"), by: of });
  return [
    ...(each ? [{ head: "process", show: (o: Op) => <Name comm={o.comm ?? ""} pid={o.pid} />, by: (o: Op) => o.pid ?? 0 }] : []),
    { head: "operation", show: o => <button type="button" class="link" onClick={() => choose(o.op)} title={o.function}>{o.op}</button>, by: o => o.op },
    { head: "source", show: o => <span class="quiet">{o.source} · {o.class}</span>, by: o => o.source + o.class, wide: true },
    { head: "count", right: true, show: o => count(o.count), by: o => o.count },
    ns("total", o => o.total_ns), ns("p50", o => o.p50_ns), ns("p95", o => o.p95_ns), ns("p99", o => o.p99_ns), ns("max", o => o.max_ns),
    { head: "bytes", right: true, show: o => (o.bytes ? bytes(o.bytes) : "–"), by: o => o.bytes },
    { head: "errors", right: true, show: o => (o.errors ? <b class="bad">{count(o.errors)}</b> : "–"), by: o => o.errors },
    { head: "nested", right: true, title: "made from within another traced call", show: o => (o.nested ? count(o.nested) : "–"), by: o => o.nested },
    { head: "recorded", right: true, title: "kept as events", show: o => count(o.recorded), by: o => o.recorded },
    { head: "lost", right: true, title: "events that should have been kept", show: o => (o.lost === null ? "?" : o.lost ? <b class="bad">{count(o.lost)}</b> : "–"), by: o => o.lost },
  ];
}

function OpHistory({ op, close }: { op: string; close: () => void }) {
  const got = useAsk<History>("history", { op, points: 240 });
  const zoom = useZoom(), { window } = useScope();
  const range = { from: Math.floor(Date.parse(window.from) / 1000), to: Math.ceil(Date.parse(window.to) / 1000) };
  return <Panel title={"History of " + op} tools={<button type="button" onClick={close}>close</button>}>
    <Show of={got} empty={a => a.ops.length === 0 && `No call of ${op} in this window.`}>{a => a.ops.map(o => {
      const at = o.series.map(s => Date.parse(s.at) / 1000);
      const line = (name: string, i: number, of: (s: OpStep) => number) => ({ name, colour: lineColour(i), values: o.series.map(of) });
      return <div class="halves" key={o.source}>
        <Chart label={`Percentiles of ${op} over time`} at={at} unit={time} height={170} zoom={zoom} {...range}
          series={[line("p50", 0, s => s.p50_ns), line("p95", 1, s => s.p95_ns), line("p99", 2, s => s.p99_ns), line("max", 3, s => s.max_ns)]} />
        <Chart label={`Calls of ${op} over time`} at={at} unit={v => count(v)} height={170} zoom={zoom} {...range} stacked step={a.step_seconds}
          series={[line(`calls in ${a.step_seconds} s`, 0, s => s.count)]} />
      </div>;
    })}</Show>
  </Panel>;
}
