// The answers of the API, as far as the views use them. Durations are ns.

export interface Window { from: string; to: string; seconds: number }
export interface Coverage { calls: number; recorded: number; lost: number | null; overhead_share: number | null; gaps: string[] }

export interface Culprit { pid: number; tid?: number; comm: string; cgroup: string; container: string; ns: number; share: number; processes?: number }
export interface Moment { at: string; layer: string; pid: number; comm: string; text: string; duration_ns: number }
export interface Frame { ip: string; symbol?: string; short?: string; file?: string; source?: string; line?: number; inlined?: boolean; py_file?: string; py_func?: string; py_line?: number }
export interface Chain {
  id: string; severity: string; node: string; pid: number; comm: string;
  started_at: string; ended_at: string | null; ongoing: boolean;
  cause: { kind: string; summary: string; culprits: Culprit[] };
  symptom: { op: string; class: string; pid: number; tid: number; comm: string; count: number; p50_ns: number; p99_ns: number; baseline_p50_ns: number | null; baseline_p99_ns: number | null };
  impact: { lost_ns: number; share: number; work_per_s: number; baseline_work_per_s: number | null };
  explained_share: number; confidence: number; severity_limited_because?: string;
  timeline: Moment[]; stack: Frame[];
  fixes: { text: string; command: string }[];
  evidence: { text: string; sql: string }[];
}

export interface Cell { place: string; state: string; ns: number; share: number; count: number; max_ns: number }
export interface Thread { tid: number; comm: string; wall_ns: number; ledger: Cell[]; unaccounted_share: number }
export interface Job { pid: number; comm: string; node: string; rank: number | null; cgroup: number; container?: string; throughput: { launches_per_s: number; baseline_launches_per_s: number | null }; threads: Thread[] }
export interface Explanation { window: Window; coverage: Coverage; processes: Job[]; chains: Chain[]; basis: string; notes: string[] }

export interface Step { at: string; in_call_ns: number; states_ns: Record<string, number> }
export interface LedgerThread extends Thread { series: Step[] }
export interface LedgerProcess { pid: number; comm: string; node: string; rank: number | null; threads: LedgerThread[] }
export interface Ledger { window: Window; step_seconds: number; processes: LedgerProcess[] }

export interface Op { pid?: number; comm?: string; node?: string; source: string; op: string; function: string; class: string; count: number; nested: number; errors: number; bytes: number; total_ns: number; p50_ns: number; p95_ns: number; p99_ns: number; max_ns: number; recorded: number; lost: number | null }
export interface Ops { window: Window; coverage: Coverage; ops: Op[] }
export interface OpStep { at: string; count: number; bytes: number; total_ns: number; p50_ns: number; p95_ns: number; p99_ns: number; max_ns: number }
export interface History { window: Window; step_seconds: number; ops: { source: string; op: string; class: string; series: OpStep[] }[] }

export interface Event { timestamp: string; pid: number; tid: number; comm: string; source: string; op: string; duration_ns: number; bytes: number; handle: string; ret_code: number; running_ns?: number; runnable_ns?: number; blocked_ns?: number; stack?: Frame[]; node: string }
export interface Events { window: Window; events: Event[] }

export interface Thief { role: string; pid: number; tid?: number; comm: string; cgroup: string; container: string; victim_pid: number; victim_tid?: number; victim_comm: string; node: string; state: string; ns: number; count: number; share: number }
export interface Thieves { window: Window; thieves: Thief[] }

export interface StackRow { op: string; source: string; count: number; total_ns: number; runnable_ns: number; blocked_ns: number; max_ns: number; pids: number[]; stack: Frame[] }
export interface Stacks { window: Window; coverage: Coverage; stacks: StackRow[] }

export interface Snapshot { timestamp: string; cpu_percent: number; mem_percent: number; mem_available_mib: number; swap_mib: number; load_avg_1m: number; psi_cpu_percent: number | null; psi_memory_percent: number | null; psi_io_percent: number | null; cores_percent: number[] }
export interface GPU { timestamp: string; gpu: number; utilization_percent: number | null; mem_used_mib: number | null; mem_total_mib: number | null; sm_clock_mhz: number | null; sm_clock_max_mhz: number | null; power_w: number | null; temperature_c: number | null; throttle_reasons: string }
export interface Snapshots { window: Window; snapshots: Snapshot[]; gpus: GPU[] }

export interface GraphMetrics { window: Window; captures: number; instantiations: number; updates: number; launches: number; destroyed: number; captures_per_s: number; launches_per_s: number; ops: Op[]; step_seconds: number; series: { at: string; captures: number; instantiations: number; launches: number }[] }
export interface Graph { exec: string; pid: number; comm: string; captured_at: string | null; capture_ns: number; instantiated_at: string | null; instantiate_ns: number; first_launch_at: string | null; last_launch_at: string | null; launches: number; launch_ns: number; updates: number; destroyed_at: string | null; errors: number }
export interface Graphs { window: Window; graphs: Graph[]; truncated?: string }
export interface GraphFrequency { window: Window; graphs: { exec: string; pid: number; comm: string; launches: number; share: number; launches_per_s: number; heat: string }[]; hot: number; cold: number; unused: number; pool_peak: number; captures_per_min: number; truncated?: string }

export interface Session { id: number; node: string; version: string; started_at: string; stopped_at: string | null; recording: boolean; killed: boolean; lost: number; overhead_share: number | null; gaps: string[] }
export interface Sessions { sessions: Session[] }
export interface Capability { group: string; name: string; available: boolean; question?: string; tool?: string; note?: string }
export interface Capabilities { capabilities: Capability[] }
export interface Table { columns: string[]; rows: unknown[][] }
