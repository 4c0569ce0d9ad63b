package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// outputFile is a file that appears under its name when it is complete, or
// standard output, or a device or pipe that is there already.
type outputFile struct {
	name   string // as the user gave it
	stream bool   // to what is there already: a failure leaves what was written
	target string // where it goes, symbolic links followed
	temp   string // the file that is written; empty: none yet, or not any more
	who    owner
	stdout io.Writer
	file   *os.File
	zip    *gzip.Writer
}

// newOutputFile checks that name can be written to. It must not be the
// database.
func newOutputFile(env *Env, name, database string, who owner) (*outputFile, error) {
	f := &outputFile{name: name, target: name, who: who}
	if name == "-" {
		f.name, f.stream, f.stdout = "standard output", true, env.Stdout
		if isTerminal(env.Stdout) {
			return nil, usagef("-o -: standard output is a terminal; send it to a file or another program")
		}
		return f, nil
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(name)
		if dir, err := os.Stat(parent); err != nil || !dir.IsDir() {
			return nil, fmt.Errorf("export to %s: there is no directory %s; make it, or give another path with -o", name, parent)
		}
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("export to %s: %w", name, err)
	case info.IsDir():
		return nil, fmt.Errorf("export to %s: it is a directory; give -o the path of a file", name)
	case !info.Mode().IsRegular():
		f.stream = true
		return f, nil
	}
	if db, err := os.Stat(database); err == nil && os.SameFile(db, info) {
		return nil, fmt.Errorf("export to %s: that is the database; give -o another path", name)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		f.target = real
	}
	return f, nil
}

// writer returns where to write; with zip, names that end in .gz are
// compressed.
func (f *outputFile) writer(zip bool) (w io.Writer, err error) {
	switch {
	case f.stdout != nil:
		w = f.stdout
	case f.stream:
		if f.file, err = os.OpenFile(f.name, os.O_WRONLY, 0); err != nil {
			return nil, err
		}
		w = f.file
	default:
		if f.file, err = f.create(); err != nil {
			return nil, err
		}
		w = f.file
	}
	if zip && strings.HasSuffix(f.name, ".gz") {
		// What is exported is text or numbers that repeat: the fastest level
		// takes it to a tenth already.
		if f.zip, err = gzip.NewWriterLevel(w, gzip.BestSpeed); err != nil {
			return nil, err
		}
		w = f.zip
	}
	return w, nil
}

// create makes the temporary file beside the target, so that it can be renamed.
func (f *outputFile) create() (*os.File, error) {
	name := fmt.Sprintf(".%s.%d.tmp", filepath.Base(f.target), rand.Uint32())
	name = filepath.Join(filepath.Dir(f.target), name)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		f.temp = name
	}
	return file, err
}

// path returns the path of a temporary file that is empty.
func (f *outputFile) path() (string, error) {
	if f.stream {
		return "", errors.New("it is no regular file, which this format needs")
	}
	file, err := f.create()
	if err != nil {
		return "", err
	}
	return f.temp, file.Close()
}

// finish gives the file its name.
func (f *outputFile) finish() error {
	var errs []error
	if f.zip != nil {
		errs = append(errs, f.zip.Close())
	}
	if f.file != nil {
		errs = append(errs, f.file.Close())
		f.file = nil
	}
	if err := errors.Join(errs...); err != nil || f.temp == "" {
		return err
	}
	if f.who.UID != 0 {
		if err := os.Chown(f.temp, f.who.UID, f.who.GID); err != nil {
			return err
		}
	}
	err := os.Rename(f.temp, f.target)
	if err == nil {
		f.temp = ""
	}
	return err
}

// discard removes what was not finished.
func (f *outputFile) discard() {
	if f.file != nil {
		f.file.Close()
	}
	if f.temp != "" {
		os.Remove(f.temp)
		os.Remove(f.temp + "-journal")
	}
}

// progress says on a terminal how far an export that takes long is.
type progress struct {
	w          io.Writer // nil: nobody would see it
	begin, end int64     // unix ns, of the recording
	started    time.Time
	next       time.Time
	shown      bool
}

func newProgress(w io.Writer, begin, end int64) *progress {
	p := &progress{begin: begin, end: end, started: time.Now()}
	if isTerminal(w) {
		p.w, p.next = w, p.started.Add(time.Second)
	}
	return p
}

// at shows that everything up to a time, and so many events, is written.
func (p *progress) at(at int64, events uint64) {
	if p.w == nil {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(200 * time.Millisecond)
	p.shown = true
	share := float64(at-p.begin) / float64(max(p.end-p.begin, 1))
	fmt.Fprintf(p.w, "\r  %s events, %.0f %%, %s/s \x1b[K", thousands(events), 100*min(max(share, 0), 1),
		thousands(uint64(float64(events)/now.Sub(p.started).Seconds())))
}

// done clears the line.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
