package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ingero/test/workload"
)

// Clients that ask without a pause, each over a connection of its own, while
// the agent records 50,000 calls a second.
const (
	apiClients = 200
	apiTime    = 10 * time.Second
)

var apiQuestions = []string{"overview", "ops", "chains?since=1h", "explain", "ledger", "thieves", "snapshots", "stacks", "events", "graph-metrics", "sessions", "time"}

// api prints how long answers take, and whether a record was lost meanwhile.
func (b *bench) api(int) error {
	db := filepath.Join(b.dir, "api.db")
	stop, err := b.agent("--db", "api.db")
	if err != nil {
		return err
	}
	job, err := workload.Start(context.Background(), b.dir, "--steps", "0", "--duration-s", fmt.Sprint(int((apiTime + 5*time.Second).Seconds())),
		"--launches", "20", "--kernel-ns", "0", "--gap-us", "450")
	if err != nil {
		return err
	}
	url, end, err := b.dashboard(db)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // so that there is something to ask for
	took, failed := ask(url)
	if err := end(); err != nil {
		return err
	}
	truth, err := job.Wait()
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	out, err := exec.Command(b.bin, "query", "ops", "--json", "-d", db).Output()
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	var answer struct {
		Coverage struct{ Calls, Recorded, Lost uint64 }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return err
	}
	var made uint64
	for _, n := range truth.Calls {
		made += n
	}
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[min(int(q*float64(len(took))), len(took)-1)].Round(100 * time.Microsecond)
	}
	fmt.Printf("\nAPI: %d clients, %.0f requests/s, %d failed; p50 %v, p99 %v, max %v\n", apiClients,
		float64(len(took))/apiTime.Seconds(), failed, at(0.5), at(0.99), at(1))
	fmt.Printf("meanwhile %.0f calls/s: %d made, %d counted, %d recorded, %d lost\n",
		float64(made)/(float64(truth.ElapsedNS)/1e9), made, answer.Coverage.Calls, answer.Coverage.Recorded, answer.Coverage.Lost)
	return nil
}

// dashboard starts the server and returns where it is.
func (b *bench) dashboard(db string) (url string, end func() error, err error) {
	cmd := exec.Command(b.bin, "dashboard", "--addr", "127.0.0.1:0", "-d", db)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	if _, err := fmt.Fscanf(stderr, "listening on %s", &url); err != nil {
		return "", nil, fmt.Errorf("dashboard: %w", err)
	}
	go io.Copy(os.Stderr, stderr)
	return strings.TrimSuffix(url, "/"), func() error {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		return cmd.Wait()
	}, nil
}

// ask lets all clients ask, and returns how long each answer took.
func ask(url string) (took []time.Duration, failed int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	until := time.Now().Add(apiTime)
	for i := range apiClients {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		all.Go(func() {
			var mine []time.Duration
			bad := 0
			for k := i; time.Now().Before(until); k++ {
				began := time.Now()
				got, err := client.Get(url + "/api/v1/" + apiQuestions[k%len(apiQuestions)])
				if err == nil {
					_, err = io.Copy(io.Discard, got.Body)
					got.Body.Close()
				}
				if err != nil || got.StatusCode != http.StatusOK {
					bad++
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			failed += bad
		})
	}
	all.Wait()
	return took, failed
}
