package probe

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"

	"ingero/internal/bpftest"
	"ingero/internal/event"
)

// writer and reader move whole blocks past the page cache.
const direct = `
buf = mmap.mmap(-1, 1 << 20)
def write(path, n):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    for _ in range(n): os.write(fd, buf)
    os.close(fd)
def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    while os.readv(fd, [buf]): pass
    os.close(fd)
`

// Requests to a disk are counted with their bytes, and recorded.
func TestBlockIO(t *testing.T) {
	bpftest.NeedBPF(t)
	file := diskDir(t) + "/file"
	p := python(t, direct+fmt.Sprintf("ready()\nwrite(%q, 20)\nread(%q)\nready()", file, file))
	s := open(t, Config{Emit: EmitPolicy})
	p.trace(s)
	p.goOn()
	p.line()
	b := s.books()
	p.goOn()
	p.end(s)
	s.finish()
	const size = 20 << 20
	for _, name := range []string{"block_read", "block_write"} {
		c := s.operations(name, p.Process.Pid)
		if c.Hist.Count() < 20 || c.Bytes < size || c.Bytes > size+1<<20 || c.Hist.Sum() == 0 {
			t.Errorf("%s: %d requests, %d bytes, %d ns, want 20 or more, %d bytes", name, c.Hist.Count(), c.Bytes, c.Hist.Sum(), size)
		}
		all := s.records(name)
		if len(all) == 0 || uint64(len(all)) != c.Recorded {
			t.Errorf("%s: %d records, counted as %d", name, len(all), c.Recorded)
		}
		for _, e := range all {
			if int(e.PID) != p.Process.Pid || e.Handle == 0 || e.Bytes == 0 || e.Dur <= 0 || e.Comm != "python3" || e.Blocked != -1 {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	if ns := b.threads[uint32(p.Process.Pid)].NS[event.Disk]; ns == 0 {
		t.Error("no time waiting for the disk")
	}
}

// Another process on the same disk is told of, with what it took there.
func TestRivals(t *testing.T) {
	bpftest.NeedBPF(t)
	dir := diskDir(t)
	victim := python(t, direct+fmt.Sprintf("ready()\nwrite(%q, 50)\nready()", dir+"/a"))
	rival := python(t, direct+fmt.Sprintf("ready()\nwrite(%q, 50)\nready()", dir+"/b"))
	s := open(t, Config{Emit: EmitPolicy})
	victim.trace(s)
	rival.line()
	rival.goOn()
	victim.goOn()
	rival.line()
	victim.line()
	var found bool
	for _, p := range s.books().pairs {
		if p.State == event.Disk && p.TID == 0 && int(p.OtherPID) == rival.Process.Pid {
			found = true
			if int(p.PID) != victim.Process.Pid || p.Count < 50 || p.NS == 0 || p.OtherComm != "python3" {
				t.Errorf("%+v", p)
			}
		}
	}
	if !found {
		t.Error("the rival was not told of")
	}
}

const sockets = `
server = socket.create_server(('127.0.0.1', 0))
out = socket.create_connection(server.getsockname())
inn, _ = server.accept()
`

// What sockets carry is counted, and how long a thread waited for it.
func TestSockets(t *testing.T) {
	p := python(t, sockets+`
def feed():
    for _ in range(50):
        time.sleep(0.004)
        out.send(bytes(1000))
ready()
threading.Thread(target=feed).start()
for _ in range(50): inn.recv(1000, socket.MSG_WAITALL)
poll = select.epoll()
poll.register(inn, select.EPOLLIN)
threading.Timer(0.1, out.send, (bytes(500),)).start()
poll.poll()
inn.recv(1000)
ready()
`)
	s := open(t, Config{Emit: EmitPolicy})
	p.trace(s)
	p.goOn()
	p.line()
	b := s.books()
	p.goOn()
	p.end(s)
	s.finish()
	sent, got := s.operations("net_send", p.Process.Pid), s.operations("net_recv", p.Process.Pid)
	if sent.Hist.Count() != 51 || sent.Bytes != 50500 || got.Hist.Count() != 51 || got.Bytes != 50500 {
		t.Errorf("sent %d times %d bytes, received %d times %d, want 51 times 50500", sent.Hist.Count(), sent.Bytes, got.Hist.Count(), got.Bytes)
	}
	booked := b.threads[uint32(p.Process.Pid)].NS[event.NetworkWait]
	if waited := got.Hist.Sum(); booked < 250e6 || float64(waited) < 0.95*float64(booked) || waited > booked*105/100 {
		t.Errorf("received after %v of waiting, the books have %v", time.Duration(waited), time.Duration(booked))
	}
}

// Every segment that the kernel sends again is counted for the owner of the
// socket. The network is the process's own, and loses one packet in five.
func TestRetransmits(t *testing.T) {
	bpftest.NeedBPF(t)
	needTools(t, "unshare", "ip")
	p := python(t, sockets+`
def again():
    rows = [l.split() for l in open('/proc/net/snmp') if l.startswith('Tcp:')]
    return int(rows[1][rows[0].index('RetransSegs')])
ready()
before = again()
for _ in range(20):
    for _ in range(10): out.send(bytes(1000))
    inn.recv(10000, socket.MSG_WAITALL)
    if again() - before > 5: break
ready(again() - before)
`, "unshare", "-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh")
	s := open(t, Config{Emit: EmitPolicy})
	p.trace(s)
	losePackets(t, p.Process.Pid)
	p.goOn()
	want, err := strconv.ParseUint(p.line(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.Drain(s.count)
	s.mu.Unlock()
	c := s.operations("tcp_retransmit", p.Process.Pid)
	if got := c.Hist.Count(); want == 0 || got < want || got > want+2 { // one may follow
		t.Errorf("%d retransmits, the kernel counted %d", got, want)
	}
	s.finish()
	all := s.records("tcp_retransmit")
	if len(all) == 0 {
		t.Fatal("none recorded")
	}
	if e := all[0]; e.Handle>>16 != 0x7f000001 || e.Handle&0xffff == 0 || int(e.PID) != p.Process.Pid {
		t.Errorf("%+v, want a peer on 127.0.0.1", e)
	}
}

// A long time between calls is counted, and recorded with its split.
func TestGaps(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitPolicy}, libs(dir)...)
	run(t, dir, "--steps", "30", "--gap-us", "5000", "--launches", "50", "--kernel-ns", "1000")
	s.finish()
	c := s.operations("gap")
	if n := c.Hist.Count(); n < 29 || c.Hist.Quantile(0.5) < 5e6 || c.Hist.Quantile(0.1) > 50e6 {
		t.Errorf("%d gaps of %v, want 29 or more of 5ms", n, time.Duration(c.Hist.Quantile(0.5)))
	}
	all := s.records("gap")
	if uint64(len(all)) != c.Recorded || len(all) == 0 {
		t.Errorf("%d records, counted as %d", len(all), c.Recorded)
	}
	for _, e := range all {
		// A shorter one is the noise of the machine between two launches.
		slept := e.Blocked >= 4e6 || e.Runnable >= 1e6 || e.Dur < 5e6
		if e.Dur < 1e6 || !slept || e.Blocked+e.Runnable > e.Dur {
			t.Errorf("a gap of %v, blocked %v, runnable %v", time.Duration(e.Dur), time.Duration(e.Blocked), time.Duration(e.Runnable))
		}
	}
}

// Without a call there is no gap, and in a run of calls none either.
func TestNoGaps(t *testing.T) {
	dir := sim(t)
	s := open(t, Config{Everyone: true, Emit: EmitPolicy}, libs(dir)...)
	run(t, dir, "--bench", "cuLaunchKernel", "--count", "100000", "--kernel-ns", "0", "--cold-start-ms", "0")
	s.finish()
	if c := s.operations("gap"); c.Hist.Count() > 100 {
		t.Errorf("%d gaps in a run of calls", c.Hist.Count())
	}
}

// Switches and wake-ups are those that the process was told of itself.
func TestSwitchesAreCounted(t *testing.T) {
	p := python(t, `
ready()
def switches():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_nvcsw + u.ru_nivcsw, u.ru_nvcsw
before = switches()
for _ in range(200): time.sleep(0.001)
after = switches()
ready(after[0] - before[0], after[1] - before[1])
`)
	s := open(t, Config{Emit: EmitPolicy})
	p.trace(s)
	p.goOn()
	all, own, _ := strings.Cut(p.line(), " ")
	s.books() // walks over the threads
	s.finish()
	for name, text := range map[string]string{"sched_switch": all, "sched_wakeup": own} {
		want, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		// it also waits for us, before and after
		if got := s.operations(name, p.Process.Pid).Hist.Count(); got < want || got > want+20 {
			t.Errorf("%s: %d, the process counted %d", name, got, want)
		}
	}
}

// What is not wanted is not attached, and not counted.
func TestLeftOut(t *testing.T) {
	bpftest.NeedBPF(t)
	all := open(t, Config{Emit: EmitPolicy})
	if gaps := all.HostGaps(); len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	for _, c := range []struct {
		cfg  Config
		less int // programs
	}{{Config{NoIO: true}, 4}, {Config{NoTCP: true}, 1}, {Config{NoNet: true}, 0}, {Config{NoNet: true, NoTCP: true}, 3}} {
		if got, want := open(t, c.cfg).HostSites(), all.HostSites()-c.less; got != want {
			t.Errorf("%+v: %d attached, want %d", c.cfg, got, want)
		}
	}
	p := python(t, sockets+"ready()\nout.send(b'x')\ninn.recv(1)\nready()")
	s := open(t, Config{NoNet: true})
	p.trace(s)
	p.goOn()
	p.line()
	s.finish()
	if c := s.operations("net_send"); c.Hist.Count() > 0 {
		t.Errorf("%d sends counted", c.Hist.Count())
	}
}

// A kernel without a tracepoint leaves a gap, in words, and nothing else.
func TestMissingTracepoint(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	spec.Programs["block_issue"].SectionName = "tp_btf/block_rq_issue_of_tomorrow"
	spec.Programs["group_reclaim_end"].SectionName = "tp_btf/reclaim_of_tomorrow"
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	lacks := kernelTypes{kernel}.lacking(spec)
	if !lacks["block_rq_issue_of_tomorrow"] || !lacks["reclaim_of_tomorrow"] || len(lacks) != 2 {
		t.Errorf("lacking: %v", lacks)
	}
	p := &Probe{}
	if err := p.hostRows(spec, kernelTypes{kernel}, Config{}); err != nil {
		t.Fatal(err)
	}
	if spec.Programs["block_issue"] != nil || spec.Programs["sched_switch"] == nil || len(p.hostGaps) != 2 {
		t.Errorf("gaps: %q", p.hostGaps)
	}
}

// Two processes that pass a byte back and forth on one CPU switch as fast as
// anything can; no time is lost over it.
func TestFastSwitches(t *testing.T) {
	p := python(t, `
os.sched_setaffinity(0, {0})
r, w = os.pipe(); back, there = os.pipe()
child = os.fork()
if child == 0:
    while os.read(r, 1): os.write(there, b'x')
ready(child)
end = time.monotonic() + 1.5
n = 0
while time.monotonic() < end:
    for _ in range(100): os.write(w, b'x'); os.read(back, 1)
    n += 200
ready(n)
os.kill(child, 9)
`)
	child, err := strconv.Atoi(p.line())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Emit: EmitPolicy})
	for _, pid := range []int{p.Process.Pid, child} {
		if err := s.Target(pid); err != nil {
			t.Fatal(err)
		}
	}
	before, began := s.books(), time.Now()
	p.goOn()
	n, err := strconv.Atoi(p.line())
	if err != nil {
		t.Fatal(err)
	}
	b := s.books()
	rate := float64(n) / time.Since(began).Seconds()
	t.Logf("%.0f switches a second", rate)
	if rate < 50000 {
		t.Log("the machine is too busy for 50,000")
	}
	for _, pid := range []int{p.Process.Pid, child} {
		addsUp(t, before, b, pid)
	}
	p.goOn()
	s.finish()
	if c := s.operations("sched_switch"); c.Hist.Count() < uint64(n) {
		t.Errorf("%d switches counted, there were %d at least", c.Hist.Count(), n)
	}
}
