-- What the events of a chunk add up to, by operation, process and stack: so
-- that chunks in which there is nothing to find are not unpacked. A chunk of
-- too many different events has none.
CREATE TABLE event_digests (
	chunk INTEGER PRIMARY KEY,
	data  BLOB NOT NULL
) STRICT;
