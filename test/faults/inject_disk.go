package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk returns MAJOR:MINOR of the whole disk that holds a path.
func disk(path string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "", err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	dir, err := filepath.EvalSymlinks("/sys/dev/block/" + dev)
	if err != nil {
		return "", fmt.Errorf("%s is on no disk", path)
	}
	if exists(filepath.Join(dir, "partition")) {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev"))
		return string(b[:max(0, len(b)-1)]), err
	}
	return dev, nil
}

func realDisk() string {
	if _, err := disk("/var/tmp"); err != nil {
		return "needs /var/tmp on a block device"
	}
	return ""
}

// throttled limits the bytes a second that the job's group may read or write.
func throttled(direction string, mbps int) inject {
	return func(s *scene) (func() error, error) {
		dev, err := disk(s.dir)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(s.groups["blkio"], "blkio.throttle."+direction+"_bps_device")
		set := func(n int) error { return os.WriteFile(file, fmt.Appendf(nil, "%s %d", dev, n), 0) }
		return func() error { return set(0) }, set(mbps * megabyte)
	}
}
