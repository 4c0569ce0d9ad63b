-- How long each second of the ledger really was, and where others ran.

CREATE TABLE drains (
	second  INTEGER PRIMARY KEY,                -- unix seconds
	wall_ns INTEGER NOT NULL                    -- from the drain before to this one
) STRICT;

-- Processes that took time from a traced one: on whose behalf they ran.
CREATE TABLE places (
	pid       INTEGER NOT NULL,
	comm      TEXT NOT NULL,
	cgroup    TEXT NOT NULL,                    -- path
	container TEXT NOT NULL,                    -- 64 hex digits, or empty
	seen_at   INTEGER NOT NULL,
	PRIMARY KEY (pid, comm)
) STRICT, WITHOUT ROWID;
