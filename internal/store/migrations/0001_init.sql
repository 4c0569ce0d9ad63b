-- Times are unix nanoseconds and durations nanoseconds unless a name or a
-- comment says otherwise. 64-bit handles and hashes are two's complement.

CREATE TABLE schema_info (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sources (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL,
	description TEXT NOT NULL
) STRICT;

CREATE TABLE ops (
	source_id   INTEGER NOT NULL,
	op_id       INTEGER NOT NULL,
	name        TEXT NOT NULL,
	class       TEXT NOT NULL,
	description TEXT NOT NULL,
	PRIMARY KEY (source_id, op_id)
) STRICT, WITHOUT ROWID;

-- One row for each run of the agent.
CREATE TABLE sessions (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	started_at     INTEGER NOT NULL,
	stopped_at     INTEGER NOT NULL DEFAULT 0,  -- 0 while it records
	gpu_model      TEXT NOT NULL DEFAULT '',
	gpu_driver     TEXT NOT NULL DEFAULT '',
	cpu_model      TEXT NOT NULL DEFAULT '',
	cpu_cores      INTEGER NOT NULL DEFAULT 0,
	mem_total      INTEGER NOT NULL DEFAULT 0,  -- MB
	kernel         TEXT NOT NULL DEFAULT '',
	os_release     TEXT NOT NULL DEFAULT '',
	cuda_ver       TEXT NOT NULL DEFAULT '',
	python_ver     TEXT NOT NULL DEFAULT '',
	ingero_ver     TEXT NOT NULL DEFAULT '',
	pid_filter     TEXT NOT NULL DEFAULT '',
	flags          TEXT NOT NULL DEFAULT '',
	node           TEXT NOT NULL DEFAULT '',
	rank           INTEGER,
	local_rank     INTEGER,
	world_size     INTEGER,
	agent_pid      INTEGER NOT NULL DEFAULT 0,
	killed         INTEGER NOT NULL DEFAULT 0,  -- 1: ended without closing the database
	overhead_share REAL,                        -- NULL: not measured
	lost           INTEGER NOT NULL DEFAULT 0,  -- events lost by the agent
	gaps           TEXT NOT NULL DEFAULT '[]',  -- JSON array: what could not be traced
	clock_steps    TEXT NOT NULL DEFAULT '[]'   -- JSON array of {at, delta}
) STRICT;

-- A process as long as it lived; a PID alone is not unique.
CREATE TABLE processes (
	id          INTEGER PRIMARY KEY,
	node        TEXT NOT NULL,
	pid         INTEGER NOT NULL,
	start       INTEGER NOT NULL,
	ppid        INTEGER NOT NULL DEFAULT 0,
	comm        TEXT NOT NULL DEFAULT '',
	cmdline     TEXT NOT NULL DEFAULT '',
	uid         INTEGER NOT NULL DEFAULT 0,
	cgroup_id   INTEGER NOT NULL DEFAULT 0,
	container   TEXT NOT NULL DEFAULT '',
	rank        INTEGER,
	local_rank  INTEGER,
	world_size  INTEGER,
	ended       INTEGER NOT NULL DEFAULT 0,     -- 0 while it lives
	exit_status INTEGER,                        -- wait status
	UNIQUE (node, pid, start)
) STRICT;

CREATE TABLE process_names (
	pid     INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	seen_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Exact statistics of every call, recorded as an event or not.
CREATE TABLE call_stats (
	second    INTEGER NOT NULL,                 -- unix seconds
	process   INTEGER NOT NULL,                 -- processes.id
	source    INTEGER NOT NULL,
	op        INTEGER NOT NULL,
	count     INTEGER NOT NULL,
	nested    INTEGER NOT NULL,                 -- made from within another traced call
	errors    INTEGER NOT NULL,
	sum_ns    INTEGER NOT NULL,
	min_ns    INTEGER NOT NULL,                 -- from the histogram, within 1.1 %
	max_ns    INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	recorded  INTEGER NOT NULL,                 -- kept as events
	lost      INTEGER NOT NULL,
	histogram BLOB NOT NULL,
	PRIMARY KEY (second, process, source, op)
) STRICT, WITHOUT ROWID;

-- The same for each minute that is over, up to the newest second.
CREATE TABLE call_stats_minute (
	minute    INTEGER NOT NULL,                 -- unix seconds, a multiple of 60
	process   INTEGER NOT NULL,
	source    INTEGER NOT NULL,
	op        INTEGER NOT NULL,
	count     INTEGER NOT NULL,
	nested    INTEGER NOT NULL,
	errors    INTEGER NOT NULL,
	sum_ns    INTEGER NOT NULL,
	min_ns    INTEGER NOT NULL,
	max_ns    INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	recorded  INTEGER NOT NULL,
	lost      INTEGER NOT NULL,
	histogram BLOB NOT NULL,
	PRIMARY KEY (minute, process, source, op)
) STRICT, WITHOUT ROWID;

-- The columns that queries written for older recordings use. Minutes that
-- are not rolled up yet come from the seconds.
CREATE VIEW event_aggregates AS
SELECT minute * 1000000000 AS bucket, s.source, s.op, p.pid,
	sum(s.count) AS count, sum(s.recorded) AS stored, sum(s.sum_ns) AS sum_dur,
	min(s.min_ns) AS min_dur, max(s.max_ns) AS max_dur, sum(s.bytes) AS sum_arg0
FROM (
	SELECT minute, process, source, op, count, recorded, sum_ns, min_ns, max_ns, bytes
	FROM call_stats_minute
	UNION ALL
	SELECT second / 60 * 60, process, source, op, count, recorded, sum_ns, min_ns, max_ns, bytes
	FROM call_stats
	WHERE second >= coalesce((SELECT max(minute) + 60 FROM call_stats_minute), 0)
) s JOIN processes p ON p.id = s.process
GROUP BY minute, s.source, s.op, p.pid;

-- Events, packed; ingero shows them as the virtual table "events".
CREATE TABLE event_chunks (
	id       INTEGER PRIMARY KEY,
	node     TEXT NOT NULL,
	first_ns INTEGER NOT NULL,                  -- start of the earliest event
	last_ns  INTEGER NOT NULL,                  -- start of the latest event
	n        INTEGER NOT NULL,
	seq      INTEGER NOT NULL,                  -- number of the first event on its node
	data     BLOB NOT NULL
) STRICT;
CREATE INDEX event_chunks_time ON event_chunks(last_ns, first_ns);

CREATE TABLE stack_traces (
	hash   INTEGER PRIMARY KEY,
	ips    TEXT NOT NULL,                       -- JSON array of addresses
	frames TEXT NOT NULL DEFAULT ''             -- JSON array of resolved frames
) STRICT;

CREATE TABLE system_snapshots (
	id        INTEGER PRIMARY KEY,
	timestamp INTEGER NOT NULL UNIQUE,
	cpu_pct   REAL NOT NULL,
	mem_pct   REAL NOT NULL,
	mem_avail INTEGER NOT NULL,                 -- MB
	swap_mb   INTEGER NOT NULL,
	load_avg  REAL NOT NULL                     -- 1 minute
) STRICT;

CREATE TABLE causal_chains (
	id              TEXT PRIMARY KEY,           -- '{node}:{descriptor}'
	detected_at     INTEGER NOT NULL,
	severity        TEXT NOT NULL,              -- HIGH, MEDIUM, LOW
	summary         TEXT NOT NULL,
	root_cause      TEXT NOT NULL,
	explanation     TEXT NOT NULL,
	recommendations TEXT NOT NULL DEFAULT '',   -- JSON array
	cuda_op         TEXT NOT NULL DEFAULT '',
	cuda_p99_us     INTEGER NOT NULL DEFAULT 0,
	cuda_p50_us     INTEGER NOT NULL DEFAULT 0,
	tail_ratio      REAL NOT NULL DEFAULT 0,
	timeline        TEXT NOT NULL DEFAULT '',   -- JSON array
	node            TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX causal_chains_detected_at ON causal_chains(detected_at);
