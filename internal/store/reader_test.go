package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogsAreReadHoweverTheyAreFound(t *testing.T) {
	w, path := create(t, Options{})
	w.Append(testEvents(1000, 1))
	must(t, w.Flush())
	copyTo := func(dir string, suffixes ...string) string {
		for _, s := range suffixes {
			b, err := os.ReadFile(path + s)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "copy.db"+s), b, 0o644))
		}
		return filepath.Join(dir, "copy.db")
	}
	all := t.TempDir()
	link := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(path, link))
	for name, p := range map[string]string{"live": path, "link": link, "copy": copyTo(all, "", "-wal", "-shm")} {
		before := hashes(t, all)
		if got := ask(t, open(t, p), "SELECT count(*) FROM events")[0][0]; got != int64(1000) {
			t.Errorf("%s: %v events", name, got)
		}
		sameFiles(t, before, hashes(t, all))
	}
	// Without its index a log cannot be read without making one.
	part := t.TempDir()
	p := copyTo(part, "", "-wal")
	if _, err := Open(p); err == nil || !strings.Contains(err.Error(), "touch "+p+"-shm") {
		t.Errorf("no -shm: error %v", err)
	}
	must(t, os.WriteFile(p+"-shm", nil, 0o644))
	if got := ask(t, open(t, p), "SELECT count(*) FROM events")[0][0]; got != int64(1000) {
		t.Errorf("empty -shm: %v events", got)
	}
	// The file alone is a sound database of the past.
	if got := ask(t, open(t, copyTo(t.TempDir(), "")), "SELECT count(*) FROM events")[0][0]; got != int64(0) {
		t.Errorf("without the log: %v events", got)
	}
	must(t, w.Close())
	if got := ask(t, open(t, link), "SELECT count(*) FROM events")[0][0]; got != int64(1000) {
		t.Errorf("closed: %v events", got)
	}
}
