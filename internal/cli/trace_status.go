package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// status prints what trace itself does: on standard error, and into the log.
type status struct {
	mu    sync.Mutex
	err   io.Writer
	log   *os.File
	debug bool
	quiet bool // the live screen is up: nothing may be printed over it
	held  []string
}

func newStatus(env *Env, o traceOptions) (*status, error) {
	s := &status{err: env.Stderr, debug: o.debug}
	if o.log != "" {
		// Opening a pipe would wait for its reader, perhaps for ever.
		if info, err := os.Stat(o.log); err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
			return nil, fmt.Errorf("open the log: %s is not a regular file", o.log)
		}
		f, err := openLog(env, o.log)
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", err)
		}
		s.log = f
	}
	return s, nil
}

// openLog appends to the log. One that is new belongs to the user who called
// sudo, like the database.
func openLog(env *Env, path string) (*os.File, error) {
	const flags = os.O_APPEND | os.O_WRONLY
	f, err := os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, flags|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, err
	}
	if _, who, err := invokingHome(env); err == nil && who.UID != 0 {
		if err := f.Chown(who.UID, who.GID); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// say prints one line.
func (s *status) say(format string, args ...any) { s.print("", format, args...) }

// debugf prints one line with --debug; the log always gets it.
func (s *status) debugf(format string, args ...any) { s.print("[DEBUG] ", format, args...) }

func (s *status) print(prefix, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := prefix + fmt.Sprintf(format, args...)
	if s.log != nil {
		fmt.Fprintf(s.log, "%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), line)
	}
	switch {
	case prefix != "" && !s.debug:
	case s.quiet:
		s.held = append(s.held, line)
	default:
		fmt.Fprintln(s.err, line)
	}
}

// hold keeps lines back while the live screen is up; release prints them.
func (s *status) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = true
}

func (s *status) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = false
	for _, line := range s.held {
		fmt.Fprintln(s.err, line)
	}
	s.held = nil
}

func (s *status) close() error {
	s.release()
	if s.log != nil {
		return s.log.Close()
	}
	return nil
}
