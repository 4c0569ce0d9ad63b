// Package accuracy holds the score of the last run of the fault suite
// (test/faults, make faults), so that the program can tell how far its
// verdicts are to be trusted.
package accuracy

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// Report is one run: known causes are injected into a simulated CUDA job, and
// the verdicts are compared with what was done.
type Report struct {
	Schema     string    `json:"schema"`
	Note       string    `json:"note"`
	Date       string    `json:"date"`    // of the run, YYYY-MM-DD
	Machine    string    `json:"machine"` // CPUs, kernel, architecture
	Rounds     int       `json:"rounds"`  // of each case
	Summary    []Line    `json:"summary"`
	Faults     []Fault   `json:"faults"`
	Healthy    []Healthy `json:"healthy"` // look-alikes that must get no finding
	NotCovered []Gap     `json:"not_covered"`
}

// Schema names the form of Report.
const Schema = "accuracy/1"

// Note says what the report is not.
const Note = "This is the fault suite on a simulated CUDA library with real probes, on a machine without a GPU. It is no integration test on a GPU."

// Line is one figure of the summary.
type Line struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Fault is a case with a cause, and what was said of it.
type Fault struct {
	Case     string  `json:"case"`
	Injected string  `json:"injected"`
	Said     string  `json:"said"`    // the cause that was named first
	Culprit  string  `json:"culprit"` // that was named; – is none
	Lost     float64 `json:"lost_share"`
	Error    string  `json:"lost_error"`  // of the lost time that was said; – is not asked
	Found    string  `json:"found_after"` // by the live trace
	Remarks  string  `json:"remarks"`     // what was wrong
}

// Healthy is a case without a cause.
type Healthy struct {
	Case        string  `json:"case"`
	What        string  `json:"what"`
	Unaccounted float64 `json:"unaccounted_share"`
	Remarks     string  `json:"remarks"`
}

// Gap is something that no case covers.
type Gap struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

//go:embed report.json
var committed []byte

// Committed is the report of the last run that was committed.
func Committed() (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(committed, r); err != nil {
		return nil, fmt.Errorf("read the committed report: %w", err)
	}
	return r, nil
}
