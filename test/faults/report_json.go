package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"

	"ingero/internal/accuracy"
)

// reportJSON is internal/accuracy/report.json, which the program carries.
func reportJSON(all []Result, rounds int) accuracy.Report {
	out := accuracy.Report{Schema: accuracy.Schema, Note: accuracy.Note, Date: today(), Machine: machine(), Rounds: rounds,
		Faults: []accuracy.Fault{}, Healthy: []accuracy.Healthy{}, NotCovered: []accuracy.Gap{}}
	for _, f := range figures(all) {
		if f[0] != "machine" && f[0] != "date" {
			out.Summary = append(out.Summary, accuracy.Line{Name: f[0], Value: f[1]})
		}
	}
	for _, r := range inOrder(all) {
		switch {
		case r.Uncovered != "":
			out.NotCovered = append(out.NotCovered, accuracy.Gap{What: r.Name, Why: r.Uncovered})
		case r.Fault:
			out.Faults = append(out.Faults, accuracy.Fault{Case: r.Name, Injected: textOf(r.Name), Said: dash(r.Kind), Culprit: dash(r.Culprit),
				Lost: math.Round(r.LostShare*100) / 100, Error: r.lossError(), Found: r.foundText(), Remarks: cell(r)})
		default:
			out.Healthy = append(out.Healthy, accuracy.Healthy{Case: r.Name, What: textOf(r.Name),
				Unaccounted: math.Round(r.Unaccounted*1e4) / 1e4, Remarks: cell(r)})
		}
	}
	for _, n := range notCovered {
		out.NotCovered = append(out.NotCovered, accuracy.Gap{What: n.what, Why: n.why})
	}
	return out
}

func writeJSON(path string, r accuracy.Report) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
