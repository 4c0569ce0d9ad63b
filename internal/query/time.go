package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// ParseDuration reads how people write durations: 90s, 1h30m, 2d, 1w, 3d12h,
// 1.5h. It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("cannot read the duration %q; write it like 30s, 1h30m, 2d or 1w", s)
	}
	return d, nil
}

// dayLayouts carry a date; clockLayouts are a time of the current day.
var (
	dayLayouts   = []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"}
	clockLayouts = []string{"15:04:05.999999999", "15:04"}
)

// ParseTime reads an absolute time: RFC 3339, "2006-01-02 15:04[:05]" or
// "15:04[:05]" of the day of now, the latter two in now's time zone.
func ParseTime(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range dayLayouts {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range clockLayouts {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot read the time %q; write it like \"15:40\", \"2006-01-02 15:40\" or 2006-01-02T15:40:00Z", s)
}

// ParseWindow turns the flags --since, --from and --to into a window in unix
// ns; empty texts are flags that were not given. All empty returns 0, 0.
func ParseWindow(since, from, to string, now time.Time) (start, end int64, err error) {
	if since == "" && from == "" && to == "" {
		return 0, 0, nil
	}
	if since != "" && from != "" {
		return 0, 0, errors.New("give --since or --from, not both")
	}
	stop := now
	if to != "" {
		if stop, err = ParseTime(to, now); err != nil {
			return 0, 0, err
		}
	}
	begin := time.Unix(0, 0)
	switch {
	case since != "":
		d, err := ParseDuration(since)
		if err != nil {
			return 0, 0, err
		}
		begin = stop.Add(-d)
	case from != "":
		if begin, err = ParseTime(from, now); err != nil {
			return 0, 0, err
		}
	}
	if !begin.Before(stop) {
		return 0, 0, fmt.Errorf("the window is empty: it begins at %s and ends at %s", begin.Format(time.RFC3339), stop.Format(time.RFC3339))
	}
	return begin.UnixNano(), stop.UnixNano(), nil
}

// ParsePIDs reads process numbers separated by commas; empty is nil, all.
func ParsePIDs(s string) ([]uint32, error) {
	if s == "" {
		return nil, nil
	}
	var pids []uint32
	for part := range strings.SplitSeq(s, ",") {
		pid, err := strconv.ParseUint(strings.TrimSpace(part), 10, 31)
		if err != nil || pid == 0 {
			return nil, fmt.Errorf("%q is not a process number", part)
		}
		pids = append(pids, uint32(pid))
	}
	return pids, nil
}
