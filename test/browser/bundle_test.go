package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is embedded is what the sources make.
func TestBundle(t *testing.T) {
	made, committed := t.TempDir(), root+"/internal/web/static"
	cmd := exec.Command("go", "run", "./ui", "-o", made)
	cmd.Dir = root + "/tools"
	if _, err := os.UserCacheDir(); err != nil { // no HOME
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if text := string(out); strings.Contains(text, "ui: fetch ") || strings.Contains(text, "dial tcp") {
			t.Skip("needs the network to bundle the dashboard: ", text)
		}
		t.Fatalf("make ui: %v\n%s", err, out)
	}
	files, err := os.ReadDir(committed)
	if err != nil || len(files) == 0 {
		t.Fatal(committed, err)
	}
	for _, f := range files {
		got, err := os.ReadFile(filepath.Join(made, f.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := os.ReadFile(filepath.Join(committed, f.Name()))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not what internal/web/ui makes: run 'make ui' and commit the result", f.Name())
		}
	}
}
