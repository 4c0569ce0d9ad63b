// Who cost the traced processes time.
import { useState } from "preact/hooks";
import { useAsk, useScope } from "./store";
import { Choice, Name, Panel, Show } from "./parts";
import { Grid } from "./grid";
import { states } from "./colours";
import type { Thief, Thieves } from "./types";
import { count, percent, printable, time } from "./units";

const plural = (role: string) => (role === "thief" ? "thieves" : role + "s");

const roles: Record<string, string> = {
  thief: "ran on the CPU that the process waited for",
  rival: "used the disk that the process waited for",
  waker: "ended the waits of a thread",
};

export function ThievesView() {
  const got = useAsk<Thieves>("thieves", { limit: 500 });
  const [role, set] = useState("thief");
  useScope();
  return <Show of={got} empty={a => a.thieves.length === 0 && <p><b>Nobody took time in this window.</b> Or it was recorded by an ingero that did not measure it.</p>}>{a => {
    const rows = a.thieves.filter(t => t.role === role), most = rows[0]?.ns ?? 1;
    return <Panel title="Thieves, rivals and wakers" note={roles[role]}
      tools={<Choice label="Role" value={role} of={Object.keys(roles).map(r => [r, `${plural(r)} (${a.thieves.filter(t => t.role === r).length})`])} set={set} />}>
      {rows.length === 0 && <p class="empty">None: no process {roles[role]}.</p>}
      {rows.length > 0 && <Grid label={plural(role)} key={role} rows={rows} sort={2} most={50} columns={[
        { head: role, show: t => <Who t={t} />, by: t => t.comm },
        { head: "victim", show: t => <><Name comm={t.victim_comm} pid={t.victim_pid} />{t.victim_tid ? <span class="quiet"> thread {t.victim_tid}</span> : null}</>, by: t => t.victim_comm },
        { head: "time", right: true, show: t => time(t.ns), by: t => t.ns },
        { head: "to the most", show: t => <i class="meter"><i style={{ width: (t.ns / most) * 100 + "%" }} /></i>, wide: true },
        { head: "of the window", right: true, show: t => percent(t.share), by: t => t.share },
        { head: "times", right: true, show: t => count(t.count), by: t => t.count },
        { head: "while it was", show: t => <span title={states[t.state]}>{t.state}</span>, by: t => t.state },
        { head: "where it ran", show: t => <code>{printable(t.container.slice(0, 12) || t.cgroup) || "–"}</code>, by: t => t.container || t.cgroup },
      ]} />}
    </Panel>;
  }}</Show>;
}

function Who({ t }: { t: Thief }) {
  if (t.pid === 0 && t.comm.startsWith("swapper")) return <span title="no other task ran: a CPU quota, or the time to wake up">idle CPU <span class="pid">{printable(t.comm)}</span></span>;
  return <Name comm={t.comm} pid={t.tid || t.pid} />;
}
