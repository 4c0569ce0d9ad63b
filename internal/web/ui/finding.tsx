// One finding: what happened, who did it, what to do, and what shows it.
import { useState } from "preact/hooks";
import { sql } from "./api";
import { Command, Fact, Name, Severity, Stack } from "./parts";
import { Grid } from "./grid";
import { href, shared, usePlace } from "./place";
import type { Chain, Table } from "./types";
import { clock, moment, percent, printable, rate, time } from "./units";

/** "cpu_contention" as words. */
export const words = (kind: string) => kind.replaceAll("_", " ");

export function Finding({ chain: c, open }: { chain: Chain; open: boolean }) {
  const place = usePlace();
  const around = href("timeline", { ...shared(place), since: "", from: c.started_at, to: c.ended_at ?? "", pid: c.pid, id: c.id });
  return <details class={"panel finding " + c.severity.toLowerCase()} open={open} id={"finding-" + c.id}>
    <summary>
      <Severity of={c.severity} /> <span class="kind">{words(c.cause.kind)}</span>
      <h2 class="cause">{printable(c.cause.summary)}</h2>
      <span class="quiet when">{clock(c.started_at)} – {c.ended_at ? clock(c.ended_at) : "now"}</span>
    </summary>
    <Facts c={c} />
    <div class="halves">
      <div><h3>What to do</h3>
        {c.fixes.length === 0 && <p class="quiet">Nothing is known that would help.</p>}
        <ol class="fixes">{c.fixes.map((f, i) => <li key={i}>{printable(f.text)}{f.command && <Command text={f.command} />}</li>)}</ol>
        <h3>Who</h3>
        {c.cause.culprits.length === 0 ? <p class="quiet">No process took part that could be named.</p> : <Culprits c={c} />}
      </div>
      <div><h3>Timeline <a href={around}>zoom in</a></h3>
        <ol class="moments">{c.timeline.map((m, i) => <li key={i}>
          <time dateTime={m.at}>{clock(m.at)}</time> <span class="layer">{m.layer}</span> <span>{printable(m.text)}</span>
        </li>)}</ol>
      </div>
    </div>
    {c.stack.length > 0 && <><h3>Most time {c.symptom.class === "gap" ? `${c.symptom.op} was before this call` : `in ${c.symptom.op} came from here`}</h3><Stack frames={c.stack} /></>}
    <h3>Evidence</h3>
    {c.evidence.map((e, i) => <Evidence key={i} text={e.text} statement={e.sql} />)}
  </details>;
}

function Facts({ c }: { c: Chain }) {
  const y = c.symptom, i = c.impact;
  return <dl class="facts">
    <Fact label="lost" class="big">{time(i.lost_ns)} <small>{percent(i.share)}</small></Fact>
    <Fact label="job"><Name comm={c.comm} pid={c.pid} /></Fact>
    <Fact label="from – to">{moment(c.started_at)} – {c.ended_at ? clock(c.ended_at) : "now"}</Fact>
    {i.baseline_work_per_s !== null && <Fact label="work">{rate(i.work_per_s)} /s <small>normally {rate(i.baseline_work_per_s)}</small></Fact>}
    {y.count > 0 && <Fact label={y.op + " p99"}>{time(y.p99_ns)}{y.baseline_p99_ns !== null && <small> normally {time(y.baseline_p99_ns)}</small>}</Fact>}
    <Fact label="explained">{percent(c.explained_share)} <small>of what is lacking</small></Fact>
    <Fact label="confidence">{percent(c.confidence)}</Fact>
    {c.severity_limited_because && <Fact label="not more severe because">{c.severity_limited_because}</Fact>}
  </dl>;
}

function Culprits({ c }: { c: Chain }) {
  return <Grid label="Culprits" most={Math.max(c.cause.culprits.filter(x => x.share >= 0.02).length, 1)} rows={c.cause.culprits} columns={[
    { head: "process", show: x => <><Name comm={x.comm} pid={x.pid} />{x.processes ? ` and ${x.processes - 1} more` : ""}</> },
    { head: "took", right: true, show: x => time(x.ns) },
    { head: "share", right: true, show: x => percent(x.share) },
    { head: "where", show: x => <code>{printable(x.container.slice(0, 12) || x.cgroup)}</code> },
  ]} />;
}

/** A statement with the question to the database that shows it. */
function Evidence({ text, statement }: { text: string; statement: string }) {
  const [got, set] = useState<{ table?: Table; error?: string; busy?: boolean }>({});
  const run = async () => {
    set({ busy: true });
    try {
      set({ table: await sql<Table>(statement) });
    } catch (err) {
      set({ error: (err as Error).message });
    }
  };
  return <div class="evidence">
    <p>{text} <button type="button" onClick={run} disabled={got.busy} aria-label={"Show " + text}>{got.table ? "show again" : "show"}</button></p>
    {got.error && <p class="problem" role="alert">{got.error}</p>}
    {got.table && <Answered table={got.table} />}
    <details class="sql"><summary>SQL</summary><Command text={statement} /></details>
  </div>;
}

function Answered({ table }: { table: Table }) {
  if (table.rows.length === 0) return <p class="quiet">No rows: the events of this time are no longer kept.</p>;
  return <Grid<unknown[]> label="Rows" most={20} rows={table.rows} columns={table.columns.map((head, i) => ({
    head, right: typeof table.rows[0][i] === "number", show: r => cell(r[i]), by: r => r[i] as number | string | null,
  }))} />;
}

const cell = (v: unknown) => typeof v === "number" && !Number.isInteger(v) ? v.toFixed(1) : v === null ? "–" : printable(String(v));
