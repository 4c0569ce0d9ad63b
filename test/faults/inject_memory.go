package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const megabyte = 1 << 20

// memory limits the memory of the job's group, file cache included.
func memory(mb int) inject {
	return func(s *scene) (func() error, error) {
		file := filepath.Join(s.groups["memory"], "memory.limit_in_bytes")
		set := func(n int) error {
			var err error
			for range 100 { // busy until enough is reclaimed
				if err = os.WriteFile(file, fmt.Append(nil, n), 0); !errors.Is(err, syscall.EBUSY) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			return err
		}
		return func() error { return set(-1) }, set(mb * megabyte)
	}
}
