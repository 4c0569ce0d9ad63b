// The machine and its GPUs over time.
import { useAsk, useScope } from "./store";
import { Fact, Panel, Show } from "./parts";
import { Chart } from "./chart";
import { lineColour } from "./colours";
import { useZoom } from "./bars";
import { href, shared, usePlace } from "./place";
import type { GPU, Snapshot, Snapshots } from "./types";
import { bytes } from "./units";

const mib = (v: number) => bytes(v * 1024 * 1024);
const pct = (v: number) => v.toFixed(v > 0 && v < 1 ? 1 : 0) + "%";

export function SystemView() {
  const got = useAsk<Snapshots>("snapshots");
  return <Show of={got} empty={a => a.snapshots.length + a.gpus.length === 0 && <p><b>No snapshots of the machine in this window.</b> The agent takes one a second while it records.</p>}>{a => <>
    {a.snapshots.length > 0 && <Machine all={a.snapshots} />}
    <GPUs all={a.gpus} />
  </>}</Show>;
}

interface Line<R> { name: string; of: (r: R) => number | null }

function Lines<R extends { timestamp: string }>(p: { title: string; rows: R[]; lines: Line<R>[]; unit: (v: number) => string; max?: number }) {
  const zoom = useZoom(), { window } = useScope();
  return <div class="small"><h3>{p.title}</h3>
    <Chart label={p.title} at={p.rows.map(r => Date.parse(r.timestamp) / 1000)} unit={p.unit} max={p.max} height={130} zoom={zoom}
      from={Math.floor(Date.parse(window.from) / 1000)} to={Math.ceil(Date.parse(window.to) / 1000)}
      series={p.lines.map((l, i) => ({ name: l.name, colour: lineColour(i), values: p.rows.map(l.of) }))} />
  </div>;
}

function Machine({ all }: { all: Snapshot[] }) {
  const last = all[all.length - 1];
  return <Panel title="Machine" note="at the end of the window, and over time">
    <dl class="facts">
      <Fact label="CPU">{pct(last.cpu_percent)}</Fact><Fact label="memory">{pct(last.mem_percent)} <small>{mib(last.mem_available_mib)} available</small></Fact>
      <Fact label="load, 1 min">{last.load_avg_1m.toFixed(2)}</Fact><Fact label="swap">{mib(last.swap_mib)}</Fact><Fact label="CPUs">{last.cores_percent.length || "–"}</Fact>
    </dl>
    <div class="tiles">
      <Lines title="CPU" rows={all} unit={pct} max={100} lines={[{ name: "all CPUs", of: s => s.cpu_percent }]} />
      <Lines<Snapshot> title="Busy CPUs, one by one" rows={all} unit={pct} max={100} lines={last.cores_percent.slice(0, 16).map((_, i) => ({ name: "CPU " + i, of: s => s.cores_percent[i] ?? null }))} />
      <Lines title="Pressure: some task waited for" rows={all} unit={pct} lines={[{ name: "CPU", of: s => s.psi_cpu_percent }, { name: "memory", of: s => s.psi_memory_percent }, { name: "disk", of: s => s.psi_io_percent }]} />
      <Lines title="Memory in use" rows={all} unit={pct} max={100} lines={[{ name: "memory", of: s => s.mem_percent }]} />
      <Lines title="Load, 1 min" rows={all} unit={v => v.toFixed(1)} lines={[{ name: "load", of: s => s.load_avg_1m }]} />
      <Lines title="Swap in use" rows={all} unit={mib} lines={[{ name: "swap", of: s => s.swap_mib }]} />
    </div>
  </Panel>;
}

function GPUs({ all }: { all: GPU[] }) {
  const place = usePlace(), ids = [...new Set(all.map(g => g.gpu))].sort((a, b) => a - b);
  if (ids.length === 0) {
    return <Panel title="GPUs"><p class="empty">The driver said nothing of GPUs: the agent asks <code>nvidia-smi</code> where there is one.
      What else there is to measure: <a href={href("capabilities", shared(place))}>capabilities</a>.</p></Panel>;
  }
  return <>{ids.map(id => {
    const rows = all.filter(g => g.gpu === id), last = rows[rows.length - 1];
    return <Panel key={id} title={"GPU " + id} note={last.throttle_reasons ? "throttled: " + last.throttle_reasons : ""}>
      <div class="tiles">
        <Lines title="Utilization" rows={rows} unit={pct} max={100} lines={[{ name: "utilization", of: g => g.utilization_percent }]} />
        <Lines title="Memory" rows={rows} unit={mib} lines={[{ name: "used", of: g => g.mem_used_mib }, { name: "total", of: g => g.mem_total_mib }]} />
        <Lines title="SM clock" rows={rows} unit={v => v.toFixed(0) + " MHz"} lines={[{ name: "now", of: g => g.sm_clock_mhz }, { name: "highest", of: g => g.sm_clock_max_mhz }]} />
        <Lines title="Power" rows={rows} unit={v => v.toFixed(0) + " W"} lines={[{ name: "power", of: g => g.power_w }]} />
        <Lines title="Temperature" rows={rows} unit={v => v.toFixed(0) + " °C"} lines={[{ name: "temperature", of: g => g.temperature_c }]} />
      </div>
    </Panel>;
  })}</>;
}
