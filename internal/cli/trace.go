package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ingero/internal/pipeline"
	"ingero/internal/probe"
	"ingero/internal/proc"
	"ingero/internal/query"
)

// traceOptions is the command line of trace.
type traceOptions struct {
	pids      string
	user      string
	libs      []string
	record    bool
	recordAll bool
	db        string
	maxDB     string
	json      bool
	stack     bool
	samples   bool // have stacks as well
	verbose   bool
	plain     bool
	debug     bool
	duration  string
	node      string
	log       string
	deadband  float64
	heartbeat string
	noIO      bool
	noTCP     bool
	noNet     bool
	meters    meterOptions
	command   []string

	// Set by demo: where the command prints, a screen all the same, a database
	// that is soon removed, and who looks at the totals.
	commandOut io.Writer
	screen     bool
	scratch    bool
	atEnd      func(pipeline.View)
	atStart    func(pid int) // of the command, when it is about to run
}

func traceCommand(env *Env) *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace [flags] [-- COMMAND ARGS...]",
		Short: "Watch the CUDA calls of running processes, live, and record them",
		Long: `Watch the CUDA calls of running processes, live, and record them.

Without --pid or --user, all CUDA processes of the invoking user are traced
(the user who called sudo), those that start later as well. With a command
after --, that command is started, traced from its first instruction, and its
exit status becomes ours. Needs root.

On a terminal a live screen shows what is seen; ? lists its keys. With --plain,
or without a terminal, it is one line a second and the tables at the end, both
without colours and cursor control. NO_COLOR takes the colours off the screen.`,
		Example: `  sudo ingero trace
  sudo ingero trace --pid 4821,5032 --duration 60s
  sudo ingero trace --json | jq .op
  sudo ingero trace --prometheus :9090
  sudo ingero trace --otlp localhost:4318
  sudo ingero trace -- python3 train.py`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && cmd.ArgsLenAtDash() == 0 {
				return usagef("no command after --")
			}
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return usagef("unexpected argument %q; put -- before a command to start", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.command = args
			return runTrace(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.pids, "pid", "p", "", "trace these processes and their children (comma-separated)")
	f.StringVarP(&o.user, "user", "u", "", "trace all CUDA processes of this user")
	f.StringArrayVar(&o.libs, "cuda-lib", nil, "also probe this libcudart, libcuda or program (repeatable)")
	f.BoolVar(&o.record, "record", true, "keep what was seen in the database")
	f.BoolVar(&o.recordAll, "record-all", false, "record every single call, not only the slow, the rare and samples")
	f.StringVarP(&o.db, "db", "d", "", "database to record into (default $INGERO_DB, then ~/.ingero/ingero.db)")
	f.StringVar(&o.maxDB, "max-db", "10g", "drop the oldest data above this size; 0 is unlimited")
	f.BoolVar(&o.json, "json", false, "print one JSON object for each recorded call")
	f.BoolVar(&o.stack, "stack", true, "take the call stacks of recorded calls")
	f.BoolVar(&o.samples, "stack-samples", true, "also those of fast calls that are only samples")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print one line for each recorded call")
	f.BoolVar(&o.plain, "plain", false, "no live screen: one line a second, and the tables at the end (so without a terminal)")
	f.BoolVar(&o.debug, "debug", false, "say on standard error what is attached, and why not, and what is pushed")
	f.StringVar(&o.duration, "duration", "", "stop after this time, such as 60s or 1h30m")
	f.StringVar(&o.node, "node", "", "name of this machine in the data (default: its host name)")
	f.StringVar(&o.log, "log", "", "append status and debug messages to this file as well")
	f.Float64Var(&o.deadband, "deadband", 0, "keep a system snapshot only if a value moved by this many percent")
	f.StringVar(&o.heartbeat, "heartbeat", "", "keep one at least this often all the same")
	f.BoolVar(&o.noIO, "no-io", false, "do not look at block devices")
	f.BoolVar(&o.noTCP, "no-tcp", false, "do not look at TCP retransmits")
	f.BoolVar(&o.noNet, "no-net", false, "do not look at what sockets send and receive")
	o.meters.flags(f)
	return cmd
}

// tracePlan is traceOptions, checked.
type tracePlan struct {
	traceOptions
	pids      []int
	uid       *uint32
	duration  time.Duration
	heartbeat time.Duration
	maxBytes  int64
	emit      probe.Emit
	libs      []proc.Binary
	program   string // path of the command
}

// conflict finds options that exclude each other, or make no sense.
func (o traceOptions) conflict() error {
	switch {
	case o.pids != "" && o.user != "":
		return usagef("--pid and --user exclude each other")
	case len(o.command) > 0 && (o.pids != "" || o.user != ""):
		return usagef("a command after -- and --pid or --user exclude each other")
	case o.json && o.verbose:
		return usagef("--json and --verbose exclude each other")
	case o.recordAll && !o.record:
		return usagef("--record-all and --record=false exclude each other")
	case !(o.deadband >= 0 && o.deadband <= 100): // not a number is neither
		return usagef("--deadband %g: give a percentage from 0 to 100", o.deadband)
	}
	return nil
}

// plan checks everything that can be checked before touching the system.
func (o traceOptions) plan(env *Env) (*tracePlan, error) {
	p := &tracePlan{traceOptions: o, emit: probe.EmitPolicy}
	var err error
	if p.pids, err = parsePIDs(o.pids); err != nil {
		return nil, err
	}
	if err := o.conflict(); err != nil {
		return nil, err
	}
	if p.duration, err = optionalDuration("--duration", o.duration); err != nil {
		return nil, err
	}
	if p.heartbeat, err = optionalDuration("--heartbeat", o.heartbeat); err != nil {
		return nil, err
	}
	if p.maxBytes, err = parseSize(o.maxDB); err != nil {
		return nil, usagef("--max-db %q: give a size such as 500m or 10g, or 0", o.maxDB)
	}
	if p.maxBytes > 0 && p.maxBytes < minDB {
		return nil, usagef("--max-db %s is too small to keep anything: give at least %s, or 0 for no limit", o.maxDB, shortBytes(minDB))
	}
	if p.node == "" {
		if p.node, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("find the host name (or give --node): %w", err)
		}
	}
	if strings.ContainsAny(p.node, ": \t\n") {
		return nil, usagef("--node %q: a name without spaces and colons, please", p.node)
	}
	switch {
	case o.recordAll:
		p.emit = probe.EmitAll
	case !o.record && !o.json && !o.verbose:
		p.emit = probe.EmitNone
	}
	if o.pids == "" && len(o.command) == 0 {
		if p.uid, err = targetUser(env, o.user); err != nil {
			return nil, err
		}
	}
	if len(o.command) > 0 {
		if p.program, err = exec.LookPath(o.command[0]); err != nil {
			return nil, fmt.Errorf("start the command: %w", err)
		}
	}
	for _, path := range o.libs {
		b, err := proc.OpenBinary(path)
		if err != nil {
			return nil, fmt.Errorf("--cuda-lib: %w", err)
		}
		p.libs = append(p.libs, b)
	}
	return p, nil
}

// minDB is the smallest --max-db: some seconds of statistics and events.
const minDB = 4 << 20

func parsePIDs(list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var pids []int
	for s := range strings.SplitSeq(list, ",") {
		pid, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || pid <= 0 {
			return nil, usagef("--pid %q: give process numbers, separated by commas", list)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func optionalDuration(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := query.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usagef("%s %q: give a time such as 90s, 1h30m or 2d", flag, text)
	}
	return d, nil
}

// parseSize reads 500m or 10g (powers of 1024); a plain number is bytes.
func parseSize(text string) (int64, error) {
	s := strings.ToLower(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), "b"))
	shift := 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]); i >= 0 {
			s, shift = s[:len(s)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, errors.New("not a size")
	}
	return n << shift, nil
}

// targetUser is whose processes are traced when none are named.
func targetUser(env *Env, name string) (*uint32, error) {
	id := ""
	switch {
	case name != "":
		u, err := user.Lookup(name)
		if err != nil {
			// A number is enough: containers run users that this machine does not know.
			if _, err := strconv.ParseUint(name, 10, 32); err != nil {
				return nil, fmt.Errorf("--user %s: no such user on this machine", name)
			}
			u = &user.User{Uid: name}
		}
		id = u.Uid
	case env.Getenv("SUDO_UID") != "":
		id = env.Getenv("SUDO_UID")
	default:
		id = strconv.Itoa(os.Getuid())
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user id %q: not a number", id)
	}
	uid := uint32(n)
	return &uid, nil
}

// runTrace is the whole life of one trace.
func runTrace(ctx context.Context, env *Env, o traceOptions) error {
	// A reader that goes away (| head) ends what is printed, not the trace and
	// least of all the command. The command itself gets SIGPIPE as usual.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	plan, err := o.plan(env)
	if err != nil {
		return err
	}
	status, err := newStatus(env, o)
	if err != nil {
		return err
	}
	defer status.close()
	m, err := openMeters(env, plan.meters, status)
	if err != nil {
		return err
	}
	defer m.close()
	t, err := newTracer(env, plan, status)
	if err != nil {
		return err
	}
	t.meters = m
	if err := t.start(); err != nil {
		return errors.Join(err, t.close())
	}
	err = errors.Join(t.run(ctx), t.close())
	if plan.atEnd != nil {
		plan.atEnd(t.window.View())
	}
	if t.command != nil { // whatever became of the trace, its status counts
		if err != nil {
			status.say("%s", oneLine(err))
		}
		return t.command.result(ctx)
	}
	return err
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
