// Where every nanosecond of every feeder went.
import { useAsk } from "./store";
import { Name, Panel, Show } from "./parts";
import { Grid } from "./grid";
import { spansOf, StateLegend, TimeBar, TimeChart } from "./bars";
import { states } from "./colours";
import { Nothing } from "./health";
import type { Cell, Explanation, Ledger, LedgerProcess, LedgerThread } from "./types";
import { count, percent, time } from "./units";

export function LedgerView() {
  const got = useAsk<Ledger>("ledger"), found = useAsk<Explanation>("chains");
  return <Show of={got} empty={a => a.processes.length === 0 && <Nothing />}>{a => <>
    <StateLegend threads={a.processes.flatMap(p => p.threads)} />
    {a.processes.map(p => p.threads.map(t => <Feeder key={p.node + p.pid + "." + t.tid} p={p} t={t} step={a.step_seconds}
      spans={spansOf((found.data?.chains ?? []).filter(c => c.pid === p.pid), a.window.to)} />))}
  </>}</Show>;
}

function Feeder({ p, t, step, spans }: { p: LedgerProcess; t: LedgerThread; step: number; spans: ReturnType<typeof spansOf> }) {
  return <Panel title={`${p.comm} ${t.tid}`} note={<>{t.comm !== p.comm && <>thread <Name comm={t.comm} /> of </>}PID {p.pid} on {p.node}{p.rank !== null && `, rank ${p.rank}`}; {time(t.wall_ns)} in all, not accounted for {percent(t.unaccounted_share)}; a bar is {step} s</>}>
    <TimeBar thread={t} />
    <TimeChart thread={t} step={step} spans={spans} height={150} />
    <Cells cells={t.ledger} who={`${p.comm} ${t.tid}`} />
  </Panel>;
}

const Cells = ({ cells, who }: { cells: Cell[]; who: string }) => <Grid label={"Time of " + who} rows={cells} sort={2} most={8} columns={[
  { head: "where", title: "the outermost traced call", show: c => c.place, by: c => c.place },
  { head: "state", show: c => <span title={states[c.state]}>{c.state} <span class="quiet words">{states[c.state]}</span></span>, by: c => c.state },
  { head: "time", right: true, show: c => time(c.ns), by: c => c.ns },
  { head: "share", right: true, show: c => percent(c.share), by: c => c.share },
  { head: "times", right: true, show: c => count(c.count), by: c => c.count },
  { head: "longest", right: true, show: c => time(c.max_ns), by: c => c.max_ns },
]} />;
