// CUDA graphs: how often they are captured and launched, and the life of each.
import { useAsk, useScope } from "./store";
import { Fact, Name, Panel, Show } from "./parts";
import { Grid } from "./grid";
import { Chart } from "./chart";
import { lineColour } from "./colours";
import { useZoom } from "./bars";
import type { Event, Events, Graph, GraphFrequency, GraphMetrics, Graphs } from "./types";
import { clock, count, percent, rate, time } from "./units";

export function GraphsView() {
  const got = useAsk<GraphMetrics>("graph-metrics");
  const { window } = useScope(), zoom = useZoom();
  const range = { from: Math.floor(Date.parse(window.from) / 1000), to: Math.ceil(Date.parse(window.to) / 1000) };
  return <Show of={got} empty={m => m.ops.length === 0 && <p><b>No call of a CUDA graph in this window.</b> Jobs use them through <code>torch.compile(mode="reduce-overhead")</code>, vLLM and others.</p>}>{m => <>
    <Panel title="Rates" note={`a point of the chart is ${m.step_seconds} s`}>
      <dl class="facts">
        <Fact label="launches" class="big">{count(m.launches)} <small>{rate(m.launches_per_s)} /s</small></Fact>
        <Fact label="captures">{count(m.captures)} <small>{rate(m.captures_per_s)} /s</small></Fact>
        <Fact label="instantiated">{count(m.instantiations)}</Fact><Fact label="updated">{count(m.updates)}</Fact><Fact label="destroyed">{count(m.destroyed)}</Fact>
      </dl>
      <Chart label="Launches and captures of graphs over time" at={m.series.map(s => Date.parse(s.at) / 1000)} unit={v => count(v)} height={140} step={m.step_seconds} zoom={zoom} {...range}
        series={[{ name: "launches", colour: lineColour(0), values: m.series.map(s => s.launches) }, { name: "captures", colour: lineColour(2), values: m.series.map(s => s.captures) }]} />
      <Grid label="Calls of graphs" rows={m.ops} columns={[
        { head: "call", show: o => <span title={o.function}>{o.op}</span>, by: o => o.op },
        { head: "count", right: true, show: o => count(o.count), by: o => o.count },
        { head: "p50", right: true, show: o => time(o.p50_ns), by: o => o.p50_ns },
        { head: "p99", right: true, show: o => time(o.p99_ns), by: o => o.p99_ns },
        { head: "max", right: true, show: o => time(o.max_ns), by: o => o.max_ns },
      ]} />
    </Panel>
    <Frequency /><Lifecycle /><Calls />
  </>}</Show>;
}

function Frequency() {
  const got = useAsk<GraphFrequency>("graph-frequency", { limit: 200 });
  return <Panel title="How often each is launched" note="hot graphs together make 80 % of the launches">
    <Show of={got}>{f => <>
      <dl class="facts">
        <Fact label="hot">{f.hot}</Fact><Fact label="cold">{f.cold}</Fact><Fact label="never launched">{f.unused}</Fact>
        <Fact label="at the same time, at most">{f.pool_peak}</Fact>
        <Fact label="captures since the first launch">{rate(f.captures_per_min)} /min{f.captures_per_min > 1 && <small> the pool lacks graphs</small>}</Fact>
      </dl>
      <Grid label="Launches of each graph" rows={f.graphs} most={10} columns={[
        { head: "graph", show: g => <code>{g.exec}</code>, by: g => g.exec },
        { head: "process", show: g => <Name comm={g.comm} pid={g.pid} />, by: g => g.pid, wide: true },
        { head: "launches", right: true, show: g => count(g.launches), by: g => g.launches },
        { head: "share", right: true, show: g => percent(g.share), by: g => g.share },
        { head: "rate", right: true, title: "while it existed", show: g => rate(g.launches_per_s) + " /s", by: g => g.launches_per_s },
        { head: "use", show: g => <span class={"heat " + g.heat}>{g.heat}</span>, by: g => g.heat },
      ]} />
      {f.truncated && <p class="coverage">{f.truncated}</p>}
    </>}</Show>
  </Panel>;
}

function Lifecycle() {
  const got = useAsk<Graphs>("graph-lifecycle", { limit: 200 });
  const at = (t: string | null) => (t ? clock(t) : "–");
  return <Panel title="The life of each" note="– is outside the window">
    <Show of={got}>{a => <>
      <Grid<Graph> label="Lives of graphs" rows={a.graphs} most={10} columns={[
        { head: "graph", show: g => <code>{g.exec}</code>, by: g => g.exec },
        { head: "process", show: g => <Name comm={g.comm} pid={g.pid} />, by: g => g.pid, wide: true },
        { head: "captured", show: g => at(g.captured_at), by: g => g.captured_at },
        { head: "capture", right: true, show: g => (g.captured_at ? time(g.capture_ns) : "–"), by: g => g.capture_ns },
        { head: "instantiate", right: true, show: g => (g.instantiated_at ? time(g.instantiate_ns) : "–"), by: g => g.instantiate_ns },
        { head: "launches", right: true, show: g => count(g.launches), by: g => g.launches },
        { head: "in launches", right: true, show: g => time(g.launch_ns), by: g => g.launch_ns },
        { head: "updates", right: true, show: g => count(g.updates), by: g => g.updates },
        { head: "last launch", show: g => at(g.last_launch_at), by: g => g.last_launch_at },
        { head: "destroyed", show: g => at(g.destroyed_at), by: g => g.destroyed_at },
        { head: "errors", right: true, show: g => (g.errors ? <b class="bad">{g.errors}</b> : "–"), by: g => g.errors },
      ]} />
      {a.truncated && <p class="coverage">{a.truncated}</p>}
    </>}</Show>
  </Panel>;
}

function Calls() {
  const got = useAsk<Events>("graph-events", { limit: 100 });
  return <Panel title="The newest calls">
    <Show of={got}>{a => <Grid<Event> label="Newest calls of graphs" rows={[...a.events].reverse()} most={10} columns={[
      { head: "at", show: e => clock(e.timestamp) + (/\.\d{3}/.exec(e.timestamp)?.[0] ?? ""), by: e => e.timestamp },
      { head: "process", show: e => <Name comm={e.comm} pid={e.tid} />, by: e => e.tid },
      { head: "call", show: e => e.op, by: e => e.op },
      { head: "took", right: true, show: e => time(e.duration_ns), by: e => e.duration_ns },
      { head: "handle", show: e => <code>{e.handle}</code>, by: e => e.handle },
      { head: "result", right: true, show: e => (e.ret_code ? <b class="bad">{e.ret_code}</b> : "ok"), by: e => e.ret_code },
    ]} />}</Show>
  </Panel>;
}
