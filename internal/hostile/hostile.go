// Package hostile is what strangers may send: statements of SQL and names of
// processes. Each surface is tested with all of it.
package hostile

// Name is what a stranger may call a process: markup, and escape sequences of
// a terminal.
const Name = "</script>\x1b[2J"

// Endless statements must be stopped when their time is over.
const Endless = "was stopped"

// SQL is what must be refused, by words of the reason.
var SQL = map[string][]string{
	"only reading": {
		"DELETE FROM sessions", "insert into sessions select * from sessions", "/* SELECT */ DROP TABLE processes", "WITH x AS (SELECT 1) UPDATE sessions SET node = 'x'",
		"ATTACH '/etc/passwd' AS x", "aTTach database ':memory:' as y", "VACUUM INTO '/tmp/ingero-stolen.db'",
		"PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = 1", "REINDEX", "BEGIN EXCLUSIVE",
	},
	"": { // not authorized, or no such function
		"SELECT load_extension('/tmp/x.so')", "SELECT LOAD_EXTENSION('x', 'y')", `SELECT "load_extension"('x')`,
		"SELECT readfile('/etc/passwd')", "SELECT writefile('/tmp/x', 'y')", "SELECT * FROM fsdir('/')",
	},
	Endless: {
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c",
		"WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT 1 FROM c) SELECT max(x) FROM c",
		"SELECT count(*) FROM sqlite_schema a, sqlite_schema b, sqlite_schema c, sqlite_schema d, sqlite_schema e, sqlite_schema f, sqlite_schema g, sqlite_schema h",
	},
	"more than one": {"SELECT 1; DELETE FROM sessions", "SELECT 1;;SELECT 2", "SELECT ';'; -- \nSELECT 2"},
	"grew beyond": {
		"SELECT zeroblob(1000000000)", "SELECT printf('%.*c', 1000000000, 'x')", "SELECT replace(hex(zeroblob(500000)), '0', 'xxxxxxxxxxxxxxxx')",
	},
}

// Huge is statements whose answers have no end: what comes is cut.
var Huge = []string{
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT printf('%.*c', 900000, 'x') FROM c",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT hex(zeroblob(400000)) FROM c",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x, printf('%.*c', 9000, 'x') FROM c",
}
