// The runs of the agent that are in the database.
import { useScope, useQuestion } from "./store";
import { Panel, Show } from "./parts";
import { Grid } from "./grid";
import { href, usePlace } from "./place";
import type { Sessions } from "./types";
import { count, moment, printable, time } from "./units";

export function SessionsView() {
  const { tick } = useScope(), place = usePlace();
  const got = useQuestion<Sessions>("sessions", {}, tick);
  return <Show of={got} empty={a => a.sessions.length === 0 && <p><b>Nothing was recorded yet.</b> On the machine with the job: <code>sudo ingero trace</code>.</p>}>{a =>
    <Panel title="Sessions" note="choose one to see it as a whole">
      <Grid label="Table of sessions" rows={[...a.sessions].reverse()} columns={[
        { head: "session", show: s => <a href={href("health", { from: s.started_at, to: s.stopped_at ?? "" })}>{moment(s.started_at)}</a>, by: s => s.started_at },
        { head: "length", right: true, show: s => (s.stopped_at ? time((Date.parse(s.stopped_at) - Date.parse(s.started_at)) * 1e6) : "–"), by: s => (s.stopped_at ? Date.parse(s.stopped_at) - Date.parse(s.started_at) : null) },
        { head: "state", show: s => (s.recording ? <b class="good">recording</b> : s.killed ? <b class="bad">killed</b> : "ended"), by: s => Number(s.recording) },
        { head: "node", show: s => printable(s.node), by: s => s.node },
        { head: "events lost", right: true, show: s => count(s.lost), by: s => s.lost },
        { head: "cost of watching", right: true, title: "of the calling threads' time", show: s => (s.overhead_share === null ? "–" : (s.overhead_share * 100).toFixed(1) + "%"), by: s => s.overhead_share },
        { head: "not seen", show: s => (s.gaps.length ? <details><summary>{s.gaps.length}</summary>{s.gaps.map(g => <div key={g}>{printable(g)}</div>)}</details> : "–"), by: s => s.gaps.length },
        { head: "version", show: s => <span class="quiet">{printable(s.version)}</span>, by: s => s.version },
      ]} />
      {place.args.pid && <p class="coverage">The filter for PID {place.args.pid} ends when you choose a session.</p>}
    </Panel>}</Show>;
}
