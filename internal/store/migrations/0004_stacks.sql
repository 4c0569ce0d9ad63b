-- Call stacks of processes: by whom and when they were first seen.
ALTER TABLE stack_traces ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stack_traces ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;     -- unix seconds
CREATE INDEX stack_traces_seen ON stack_traces(seen_at);
