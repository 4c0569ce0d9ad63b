package probe

import "ingero/internal/event"

// System calls that only older architectures have; arm64 is not one of them.
var (
	oldReasons map[event.State][]int
	oldPoll    []int
)
