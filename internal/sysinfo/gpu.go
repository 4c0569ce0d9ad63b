package sysinfo

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingero/internal/event"
)

// throttleReasons names the bits of clocks_event_reasons.active: the
// constants nvmlClocksEventReason… and nvmlClocksThrottleReason… in nvml.h
// (docs.nvidia.com/deploy/nvml-api, group nvmlClocksEventReasons). Two say
// that the clocks are where somebody wants them, and are left out:
// gpu_idle (bit 0) and applications_clocks_setting (bit 1).
var throttleReasons = []struct {
	bit  uint64
	name string
}{
	{0x004, "sw_power_cap"},
	{0x008, "hw_slowdown"},
	{0x010, "sync_boost"},
	{0x020, "sw_thermal_slowdown"},
	{0x040, "hw_thermal_slowdown"},
	{0x080, "hw_power_brake_slowdown"},
	{0x100, "display_clock_setting"},
}

// throttleNames decodes a mask such as 0x0000000000000004; whatever is none
// says nothing.
func throttleNames(mask string) string {
	bits, err := strconv.ParseUint(mask, 0, 64)
	if err != nil {
		return ""
	}
	var names []string
	for _, r := range throttleReasons {
		if bits&r.bit != 0 {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, ",")
}

// smiRow is one line of either query.
type smiRow struct {
	event.GPUSample
	event.GPUProc
	uuid string
}

// smiColumn is a field that nvidia-smi can be asked for: its names, that of
// new drivers first, and where it goes. What must be there reports whether it
// is; other figures may be missing.
type smiColumn struct {
	names []string
	set   func(r *smiRow, text string) bool
}

func figure(at func(*smiRow) *float64) func(*smiRow, string) bool {
	return func(r *smiRow, text string) bool {
		*at(r) = parseFigure(text)
		return true
	}
}

// parseFigure returns -1 for "[N/A]", "[Not Supported]", "ERR!" and the like.
func parseFigure(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || !(v >= 0) {
		return -1
	}
	return v
}

const maxGPUs = 1024 // in one machine; a number above is none

func setIndex(r *smiRow, text string) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	r.GPU = int(n)
	return err == nil && n < maxGPUs
}

func setPID(r *smiRow, text string) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	r.PID = uint32(n)
	return err == nil && n > 0
}

func setName(r *smiRow, text string) bool {
	if !strings.HasPrefix(text, "[") { // [Not Found], [Insufficient Permissions]
		r.Name = text
	}
	return true
}

// setUUID takes what is before a part of a GPU, in the form of old drivers:
// MIG-GPU-…/1/0.
func setUUID(r *smiRow, text string) bool {
	if u, ok := strings.CutPrefix(text, "MIG-GPU-"); ok {
		text, _, _ = strings.Cut("GPU-"+u, "/")
	}
	r.uuid = text
	return true
}

func gpuColumns() []smiColumn {
	return []smiColumn{
		{[]string{"timestamp"}, func(r *smiRow, text string) bool {
			// We ask for UTC by the environment.
			if at, err := time.Parse("2006/01/02 15:04:05.000", text); err == nil {
				r.Time = at.UnixNano()
			}
			return true
		}},
		{[]string{"index"}, setIndex},
		{[]string{"uuid", "gpu_uuid"}, setUUID},
		{[]string{"utilization.gpu"}, figure(func(r *smiRow) *float64 { return &r.Util })},
		{[]string{"memory.used"}, figure(func(r *smiRow) *float64 { return &r.MemUsed })},
		{[]string{"memory.total"}, figure(func(r *smiRow) *float64 { return &r.MemTotal })},
		{[]string{"clocks.sm", "clocks.current.sm"}, figure(func(r *smiRow) *float64 { return &r.SMClock })},
		{[]string{"clocks.max.sm"}, figure(func(r *smiRow) *float64 { return &r.SMMax })},
		{[]string{"clocks.mem", "clocks.current.memory"}, figure(func(r *smiRow) *float64 { return &r.MemClock })},
		{[]string{"power.draw"}, figure(func(r *smiRow) *float64 { return &r.Power })},
		{[]string{"temperature.gpu"}, figure(func(r *smiRow) *float64 { return &r.Temp })},
		{[]string{"clocks_event_reasons.active", "clocks_throttle_reasons.active"}, func(r *smiRow, text string) bool {
			r.Throttle = throttleNames(text)
			return true
		}},
	}
}

// appColumns has the name second, as it may hold commas itself: it takes
// whatever the others leave.
func appColumns() []smiColumn {
	return []smiColumn{
		{[]string{"pid"}, setPID},
		{[]string{"process_name", "name"}, setName},
		{[]string{"used_memory", "used_gpu_memory"}, figure(func(r *smiRow) *float64 { return &r.Mem })},
		{[]string{"gpu_uuid"}, setUUID},
	}
}

func newRow() smiRow {
	return smiRow{
		GPUSample: event.GPUSample{Util: -1, MemUsed: -1, MemTotal: -1, SMClock: -1, SMMax: -1, MemClock: -1, Power: -1, Temp: -1},
		GPUProc:   event.GPUProc{Mem: -1},
	}
}

// parseRow reads one line, false if it is none: an error, a part of a line.
func parseRow(columns []smiColumn, line string) (smiRow, bool) {
	r := newRow()
	f := strings.Split(line, ",")
	if extra := len(f) - len(columns); extra > 0 && len(columns) > 1 && columns[1].names[0] == "process_name" {
		f = slices.Concat(f[:1], []string{strings.Join(f[1:extra+2], ",")}, f[extra+2:])
	}
	if len(f) != len(columns) {
		return r, false
	}
	for i, c := range columns {
		if !c.set(&r, strings.TrimSpace(f[i])) {
			return r, false
		}
	}
	return r, true
}

// query is the argument that asks for the columns.
func query(columns []smiColumn) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.names[0]
	}
	return strings.Join(names, ",")
}

var unknownField = regexp.MustCompile(`(?i)field "([^"]+)" is not a valid field`)

// withoutUnknown takes the field that the driver does not know, as its error
// says, out of the columns, or asks for it by its older name. It is false if
// the text is no such error.
func withoutUnknown(columns []smiColumn, text string) ([]smiColumn, bool) {
	m := unknownField.FindStringSubmatch(text)
	if m == nil {
		return columns, false
	}
	for i, c := range columns {
		if c.names[0] != m[1] || m[1] == "index" || m[1] == "pid" {
			continue
		}
		columns = slices.Clone(columns)
		if len(c.names) > 1 {
			columns[i].names = c.names[1:]
			return columns, true
		}
		return slices.Delete(columns, i, i+1), true
	}
	return columns, false
}

// gpuApps are the processes that were last seen on each GPU. nvidia-smi says
// nothing when one is gone, so they are forgotten after a while.
type gpuApps map[gpuApp]seenApp

type gpuApp struct {
	uuid string
	pid  uint32
}

type seenApp struct {
	event.GPUProc
	at time.Time
}

const maxApps = 4096 // on all GPUs

func (g gpuApps) add(r *smiRow, at time.Time) {
	key := gpuApp{r.uuid, r.PID}
	if _, known := g[key]; known || len(g) < maxApps {
		g[key] = seenApp{r.GPUProc, at}
	}
}

// on returns the processes of one GPU by PID, and forgets the old ones of all.
func (g gpuApps) on(uuid string, since time.Time) (procs []event.GPUProc) {
	for k, a := range g {
		if a.at.Before(since) {
			delete(g, k)
		} else if k.uuid == uuid {
			procs = append(procs, a.GPUProc)
		}
	}
	slices.SortFunc(procs, func(a, b event.GPUProc) int { return cmp.Compare(a.PID, b.PID) })
	return procs
}
