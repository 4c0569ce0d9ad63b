// Package script runs the commands as a user does: each txtar file is a
// session at the shell.
package script

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ingero/internal/cli"
	"ingero/internal/event"
	"ingero/internal/stats"
	"ingero/internal/store"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_INGERO") != "" { // a process of its own, for a signal or a limit
		os.Exit(cli.Main(os.Args[1:], cli.OSEnv()))
	}
	testscript.Main(m, map[string]func(){
		"ingero":    func() { os.Exit(cli.Main(os.Args[1:], cli.OSEnv())) },
		"recording": func() { exit(makeRecording(os.Args[1])) },
		"incident":  func() { exit(makeIncident(os.Args[1])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			if cache, err := os.UserCacheDir(); err == nil { // for go tool pprof, which is built first
				e.Vars = append(e.Vars, "GOCACHE="+cmp.Or(os.Getenv("GOCACHE"), filepath.Join(cache, "go-build")))
			}
			e.Vars = append(e.Vars, "TZ=UTC", "SUDO_USER=", "INGERO_DB=", "HOME="+e.WorkDir)
			return nil
		},
	})
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// makeRecording writes a small database: two processes, two minutes from
// 2026-01-01 00:00:00, 100 launches a second each and a wait after them, of
// which the waits and every tenth launch are recorded.
func makeRecording(path string) error {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	w, err := store.Create(path, store.Options{Node: "node-1", Now: func() time.Time { return now },
		Session: store.Session{Version: "test", Rank: event.NoRank, Gaps: []string{"no kernel events"}}})
	if err != nil {
		return err
	}
	launch, wait := event.MakeOp(event.CUDA, 3), event.MakeOp(event.CUDA, 5)
	born := start.Add(-time.Hour).UnixNano()
	for _, pid := range []uint32{101, 102} {
		w.Process(store.ProcessRow{Process: event.Process{PID: pid, Start: born, Comm: fmt.Sprint("job-", pid), Rank: event.NoRank}})
	}
	for s := range 120 {
		at := start.Add(time.Duration(s) * time.Second)
		for _, pid := range []uint32{101, 102} {
			launches := stats.Calls{PID: pid, Start: born, Op: launch, Recorded: 10, Hist: new(stats.Histogram)}
			for i := range 100 {
				launches.Hist.Add(5000)
				if i%10 == 0 {
					w.Append([]event.Event{{Start: at.Add(time.Duration(i) * time.Millisecond).UnixNano(), Dur: 5000, PID: pid, TID: pid, Runnable: -1, Blocked: -1,
						Op: launch, Handle: 0xabc0, Comm: "python3", Rank: event.NoRank}})
				}
			}
			waits := stats.Calls{PID: pid, Start: born, Op: wait, Recorded: 1, Hist: new(stats.Histogram)}
			waits.Hist.Add(4_200_000)
			w.Append([]event.Event{{Start: at.Add(200 * time.Millisecond).UnixNano(), Dur: 4_200_000, PID: pid, TID: pid, Blocked: 4_000_000,
				Op: wait, Handle: 0x10, Comm: "python3", Rank: event.NoRank}})
			w.Stats(at.Unix(), []stats.Calls{launches, waits})
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	now = start.Add(2 * time.Minute)
	return w.Close()
}
