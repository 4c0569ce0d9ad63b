package mcp

import (
	"context"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ingero/internal/query"
)

// mostCompletions is how many the protocol allows.
const mostCompletions = 100

// complete proposes values for what a person types: processes and times of the
// prompt, ids of resources. Where there is nothing to propose, it is nothing.
func (s *server) complete(ctx context.Context, req *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
	var all []string
	ref, arg := req.Params.Ref, req.Params.Argument
	switch {
	case ref == nil:
	case ref.Name == promptName && arg.Name == "since":
		all = []string{"5m", "15m", "1h", "6h", "1d", "1w"}
	case ref.Name == promptName && arg.Name == "pid":
		if got, err := s.ask(ctx, "overview", map[string]any{}); err == nil {
			for _, p := range got.(*query.OverviewAnswer).Processes {
				all = append(all, strconv.FormatUint(uint64(p.PID), 10))
			}
		}
	case strings.HasPrefix(ref.URI, sessionURI):
		if sessions, err := s.sessions(ctx); err == nil {
			for _, x := range slices.Backward(sessions) {
				all = append(all, strconv.FormatInt(x.ID, 10))
			}
		}
	case strings.HasPrefix(ref.URI, chainURI):
		if chains, err := s.chains(ctx); err == nil {
			for _, c := range chains {
				all = append(all, line(c.ID))
			}
		}
	}
	values := []string{}
	for _, v := range all {
		if strings.HasPrefix(v, arg.Value) && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	d := sdk.CompletionResultDetails{Values: values, Total: len(values)}
	if len(values) > mostCompletions {
		d.Values, d.HasMore = values[:mostCompletions], true
	}
	return &sdk.CompleteResult{Completion: d}, nil
}
