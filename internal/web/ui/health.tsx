// The first view: is the job fine, and if not, why, and what to do.
import { useScope, useAsk } from "./store";
import { Fact, Name, Panel, Show } from "./parts";
import { Finding } from "./finding";
import { spansOf, StateLegend, TimeBar, TimeChart } from "./bars";
import { href, shared, usePlace } from "./place";
import type { Chain, Coverage, Explanation, Job, Ledger } from "./types";
import { count, moment, percent, rate, time } from "./units";

// shown are how many jobs and how many threads of each are on this page.
const shown = { jobs: 4, threads: 2 };

export function Health() {
  const got = useAsk<Explanation>("explain");
  return <Show of={got} empty={e => e.processes.length + e.chains.length === 0 && <Nothing />}>{e => <>
    <Verdict e={e} />
    {e.chains.map((c, i) => <Finding key={c.id} chain={c} open={i === 0} />)}
    <Feeders e={e} />
    <p class="coverage">{coverage(e.coverage)}{e.notes.map(n => <span key={n}> · {n}</span>)}</p>
    {e.coverage.gaps.length > 0 && <p class="coverage">Not seen: {e.coverage.gaps.join("; ")}</p>}
  </>}</Show>;
}

/** What to do when a window has no data. */
export function Nothing() {
  const p = usePlace(), { window } = useScope();
  return <>
    <p><b>No traced process was seen from {moment(window.from)} to {moment(window.to)}.</b></p>
    <p>To record now, on the machine with the job: <code>sudo ingero trace</code>. What was recorded earlier: <a href={href("sessions", {})}>sessions</a>
      {p.args.pid ? <>, or <a href={href(p.view, { ...p.args, pid: "" })}>all processes instead of {p.args.pid}</a></> : null}.</p>
  </>;
}

/** The one sentence that counts. */
function Verdict({ e }: { e: Explanation }) {
  const worst = e.chains[0];
  if (!worst) {
    return <div class="verdict fine" role="status">
      <h1><span aria-hidden="true">✓</span> No findings.</h1>
      <p>{e.basis === "ledger" ? "Nothing took time from the job that it does not take when all is well." : "Nothing stands out in what calls took."}</p>
    </div>;
  }
  return <div class={"verdict " + worst.severity.toLowerCase()} role="status">
    <h1>{worst.ongoing ? "The job is losing time." : "The job lost time."} <span class="sum">{tally(e.chains)}</span></h1>
    <p>{lost(worst)}</p>
  </div>;
}

function tally(chains: Chain[]): string {
  const n = new Map<string, number>();
  for (const c of chains) n.set(c.severity, (n.get(c.severity) ?? 0) + 1);
  return [...n].map(([s, k]) => `${k} ${s}`).join(", ");
}

function lost(c: Chain): string {
  const who = c.cause.culprits[0];
  const speed = c.impact.baseline_work_per_s ? ` It did ${rate(c.impact.work_per_s)} units of work a second, normally ${rate(c.impact.baseline_work_per_s)}.` : "";
  return `${c.comm} (PID ${c.pid}) lost ${time(c.impact.lost_ns)}, ${percent(c.impact.share)} of its time` + (who ? `, most of it to ${who.comm} (PID ${who.pid}).` : ".") + speed;
}

/** The sentence on how much the answer rests on, as the command line has it. */
export function coverage(c: Coverage): string {
  return `${count(c.calls)} calls counted, ${count(c.recorded)} recorded as events, ${c.lost === null ? "losses not known" : count(c.lost) + " lost"}` +
    (c.overhead_share !== null ? `; watching took ${(c.overhead_share * 100).toFixed(1)}% of the calling threads' time` : "");
}

// Feeders are the busiest threads: their whole time, and how it changed.
function Feeders({ e }: { e: Explanation }) {
  const got = useAsk<Ledger>("ledger");
  const place = usePlace();
  const jobs = e.processes.slice(0, shown.jobs);
  const more = e.processes.reduce((n, j) => n + j.threads.length, 0) - jobs.reduce((n, j) => n + Math.min(j.threads.length, shown.threads), 0);
  return <Panel title="Where the time went" note="of the threads that feed the GPU; the parts of each add up to its whole time"
    tools={<a href={href("ledger", shared(place))}>all threads{more > 0 ? ` (${more} more)` : ""}</a>}>
    <StateLegend threads={jobs.flatMap(j => j.threads)} />
    {jobs.map(j => <div class="job" key={j.node + j.pid}>
      <Speed job={j} />
      {j.threads.slice(0, shown.threads).map(t => {
        const over = got.data?.processes.find(p => p.pid === j.pid && p.node === j.node)?.threads.find(x => x.tid === t.tid);
        return <div class="feeder" key={t.tid}>
          <p class="row"><Name comm={t.comm} pid={t.tid} /><span class="quiet">{time(t.wall_ns)} in all; not accounted for {percent(t.unaccounted_share)}</span></p>
          <TimeBar thread={t} />
          {over && <TimeChart thread={over} step={got.data!.step_seconds} height={110} spans={spansOf(e.chains.filter(c => c.pid === j.pid), e.window.to)} />}
        </div>;
      })}
    </div>)}
    {got.error && <p class="problem">{got.error.message}</p>}
  </Panel>;
}

function Speed({ job }: { job: Job }) {
  const t = job.throughput, place = usePlace();
  return <dl class="facts">
    <Fact label="process"><Name comm={job.comm} pid={job.pid} href={href(place.view, { ...place.args, pid: job.pid })} /></Fact>
    <Fact label="node">{job.node}{job.rank !== null ? `, rank ${job.rank}` : ""}</Fact>
    <Fact label="launches">{rate(t.launches_per_s)} /s</Fact>
    {t.baseline_launches_per_s !== null && <Fact label="when all was well">{rate(t.baseline_launches_per_s)} /s</Fact>}
    {job.container && <Fact label="container"><code>{job.container.slice(0, 12)}</code></Fact>}
  </dl>;
}
