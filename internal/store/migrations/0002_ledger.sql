-- Where the time of every thread went, who cost whom time, incidents, GPUs.

CREATE TABLE states (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL
) STRICT;

-- Threads that the ledger tells apart.
CREATE TABLE threads (
	process INTEGER NOT NULL,                   -- processes.id
	tid     INTEGER NOT NULL,
	comm    TEXT NOT NULL,
	start   INTEGER NOT NULL,
	seen    INTEGER NOT NULL,                   -- the last minute it was told apart, unix seconds
	PRIMARY KEY (process, tid)
) STRICT, WITHOUT ROWID;

-- The time of a thread in one second, by place and state. All rows of a
-- process add up to the time its threads lived. tid 0 is the sum of threads
-- that did next to nothing; source and op 0 are between calls.
CREATE TABLE ledger (
	second  INTEGER NOT NULL,                   -- unix seconds
	process INTEGER NOT NULL,                   -- processes.id
	tid     INTEGER NOT NULL,
	source  INTEGER NOT NULL,
	op      INTEGER NOT NULL,
	state   INTEGER NOT NULL,                   -- states.id
	ns      INTEGER NOT NULL,
	count   INTEGER NOT NULL,                   -- intervals that ended
	max_ns  INTEGER NOT NULL,                   -- the longest of them
	PRIMARY KEY (second, process, tid, source, op, state)
) STRICT, WITHOUT ROWID;

-- The same for each minute that is over, as call_stats_minute.
CREATE TABLE ledger_minute (
	minute  INTEGER NOT NULL,
	process INTEGER NOT NULL,
	tid     INTEGER NOT NULL,
	source  INTEGER NOT NULL,
	op      INTEGER NOT NULL,
	state   INTEGER NOT NULL,
	ns      INTEGER NOT NULL,
	count   INTEGER NOT NULL,
	max_ns  INTEGER NOT NULL,
	PRIMARY KEY (minute, process, tid, source, op, state)
) STRICT, WITHOUT ROWID;

-- Who cost whom time: a thief had the CPU (state runnable, tid 0), a waker
-- ended the wait of a thread (tid not 0), a rival used the same block device
-- (state disk, tid 0; ns is what its own requests took).
CREATE TABLE waits (
	second     INTEGER NOT NULL,
	process    INTEGER NOT NULL,                -- the victim, processes.id
	tid        INTEGER NOT NULL,
	state      INTEGER NOT NULL,
	other_pid  INTEGER NOT NULL,                -- 0: the idle CPU or the kernel
	other_tid  INTEGER NOT NULL,
	other_comm TEXT NOT NULL,
	ns         INTEGER NOT NULL,
	count      INTEGER NOT NULL,
	PRIMARY KEY (second, process, tid, state, other_pid, other_tid, other_comm)
) STRICT, WITHOUT ROWID;

CREATE TABLE waits_minute (
	minute     INTEGER NOT NULL,
	process    INTEGER NOT NULL,
	tid        INTEGER NOT NULL,
	state      INTEGER NOT NULL,
	other_pid  INTEGER NOT NULL,
	other_tid  INTEGER NOT NULL,
	other_comm TEXT NOT NULL,
	ns         INTEGER NOT NULL,
	count      INTEGER NOT NULL,
	PRIMARY KEY (minute, process, tid, state, other_pid, other_tid, other_comm)
) STRICT, WITHOUT ROWID;

CREATE VIEW ledger_view AS
SELECT l.second, p.pid, p.comm, l.tid, coalesce(t.comm, '') AS thread,
	CASE WHEN l.source = 0 AND l.op = 0 THEN 'between calls' ELSE coalesce(o.name, l.source || '.' || l.op) END AS place,
	coalesce(s.name, l.state) AS state, l.ns, l.count, l.max_ns
FROM ledger l JOIN processes p ON p.id = l.process
	LEFT JOIN threads t ON t.process = l.process AND t.tid = l.tid
	LEFT JOIN ops o ON o.source_id = l.source AND o.op_id = l.op
	LEFT JOIN states s ON s.id = l.state;

CREATE VIEW waits_view AS
SELECT w.second, p.pid, p.comm, w.tid, coalesce(t.comm, '') AS thread, coalesce(s.name, w.state) AS state,
	CASE WHEN w.tid <> 0 THEN 'waker' WHEN s.name = 'disk' THEN 'rival' ELSE 'thief' END AS role,
	w.other_pid, w.other_tid, w.other_comm, w.ns, w.count
FROM waits w JOIN processes p ON p.id = w.process
	LEFT JOIN threads t ON t.process = w.process AND t.tid = w.tid
	LEFT JOIN states s ON s.id = w.state;

-- An incident stays after it ended. A row without started_at says only when
-- it was detected.
ALTER TABLE causal_chains ADD COLUMN kind TEXT NOT NULL DEFAULT '';         -- cause.kind of 'explain --json'
ALTER TABLE causal_chains ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;        -- who suffered
ALTER TABLE causal_chains ADD COLUMN started_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE causal_chains ADD COLUMN ended_at INTEGER NOT NULL DEFAULT 0;   -- 0 while it goes on
ALTER TABLE causal_chains ADD COLUMN lost_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE causal_chains ADD COLUMN share REAL NOT NULL DEFAULT 0;         -- of the feeders' time, 0 to 1
ALTER TABLE causal_chains ADD COLUMN culprit_pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE causal_chains ADD COLUMN culprit TEXT NOT NULL DEFAULT '';
ALTER TABLE causal_chains ADD COLUMN detail TEXT NOT NULL DEFAULT '';       -- the whole chain, JSON as in 'explain --json'

-- NULL is not known.
CREATE TABLE gpu_samples (
	timestamp    INTEGER NOT NULL,
	gpu          INTEGER NOT NULL,
	util_pct     REAL,
	mem_used_mb  REAL,
	mem_total_mb REAL,
	sm_mhz       REAL,
	mem_mhz      REAL,
	sm_max_mhz   REAL,
	power_w      REAL,
	temp_c       REAL,
	throttle     TEXT NOT NULL DEFAULT '',      -- reasons, separated by commas
	procs        TEXT NOT NULL DEFAULT '[]',    -- JSON array of {pid, name, mem_mb}
	PRIMARY KEY (timestamp, gpu)
) STRICT, WITHOUT ROWID;

-- Percent of the time since the snapshot before in which some task waited.
ALTER TABLE system_snapshots ADD COLUMN psi_cpu REAL;
ALTER TABLE system_snapshots ADD COLUMN psi_mem REAL;
ALTER TABLE system_snapshots ADD COLUMN psi_io REAL;
ALTER TABLE system_snapshots ADD COLUMN cores TEXT;                         -- JSON array: percent of each core
