package cli

import (
	"os"
	"strings"
	"testing"
)

func TestDatabasePath(t *testing.T) {
	env := func(vars map[string]string) *Env {
		return &Env{Getenv: func(key string) string { return vars[key] }}
	}
	home := map[string]string{"HOME": "/home/a"}
	cases := []struct {
		name, flag string
		vars       map[string]string
		want, fail string
	}{
		{"default", "", home, "/home/a/.ingero/ingero.db", ""},
		{"flag first", "x.db", map[string]string{"HOME": "/home/a", "INGERO_DB": "y.db"}, "x.db", ""},
		{"then variable", "", map[string]string{"HOME": "/home/a", "INGERO_DB": "y.db"}, "y.db", ""},
		{"root without sudo", "", map[string]string{"HOME": "/root", "SUDO_USER": "root"}, "/root/.ingero/ingero.db", ""},
		{"no home", "", nil, "", "give its path with --db"},
		{"no home needed", "x.db", nil, "x.db", ""},
	}
	for _, c := range cases {
		got, who, err := databasePath(env(c.vars), c.flag)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.fail)
			}
			continue
		}
		if err != nil || got != c.want || who != (owner{}) {
			t.Errorf("%s: got %q, %v, %v; want %q", c.name, got, who, err, c.want)
		}
	}
}

func TestDatabasePathBelongsToTheUserBehindSudo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo -E go test ./internal/cli")
	}
	env := &Env{Getenv: func(key string) string { return map[string]string{"SUDO_USER": "daemon", "HOME": "/root"}[key] }}
	path, who, err := databasePath(env, "")
	if err != nil || strings.HasPrefix(path, "/root") || !strings.HasSuffix(path, "/.ingero/ingero.db") || who.UID == 0 {
		t.Errorf("got %q, %v, %v", path, who, err)
	}
	env = &Env{Getenv: func(key string) string { return map[string]string{"SUDO_USER": "no such user"}[key] }}
	if _, _, err := databasePath(env, ""); err == nil || !strings.Contains(err.Error(), "--db") {
		t.Errorf("error %v", err)
	}
}
