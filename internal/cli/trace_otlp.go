package cli

import (
	"github.com/spf13/pflag"

	"ingero/internal/metric"
	"ingero/internal/otlp"
)

// otlpOptions say where what is measured is pushed.
type otlpOptions struct {
	endpoint, protocol, interval string
}

func (o *otlpOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.endpoint, "otlp", "", "push metrics and findings to this OpenTelemetry collector: host:port or a URL; env: as OTEL_EXPORTER_OTLP_ENDPOINT says")
	f.StringVar(&o.protocol, "otlp-protocol", "", "http/json, http/protobuf or grpc (default $OTEL_EXPORTER_OTLP_PROTOCOL, then http/json)")
	f.StringVar(&o.interval, "otlp-interval", "", "time between pushes of metrics (default $OTEL_METRIC_EXPORT_INTERVAL, then 10s)")
}

// parse checks the flags and the variables. It is nil if nothing is pushed.
func (o *otlpOptions) parse(env *Env, st *status) (*otlp.Config, error) {
	if o.endpoint == "" {
		if o.protocol == "" && o.interval == "" {
			return nil, nil
		}
		return nil, usagef("where to is missing: --otlp localhost:4318, or --otlp env for what OTEL_EXPORTER_OTLP_ENDPOINT says")
	}
	interval, err := optionalDuration("--otlp-interval", o.interval)
	if err != nil {
		return nil, err
	}
	c, err := otlp.Parse(otlp.Options{Endpoint: o.endpoint, Protocol: o.protocol, Interval: interval, Getenv: env.Getenv})
	if err != nil {
		return nil, usagef("%w", err)
	}
	if c.Metrics == nil && c.Logs == nil {
		st.say("OTLP: nothing is pushed: OTEL_SDK_DISABLED, or OTEL_METRICS_EXPORTER and OTEL_LOGS_EXPORTER, say so")
		return nil, nil
	}
	return c, nil
}

// exported is what was measured, and what became of telling it.
type exported struct {
	*metric.Collector
	to *otlp.Exporter
}

func (e *exported) Snapshot() metric.Snapshot {
	s := e.Collector.Snapshot()
	s.Metrics = append(s.Metrics, e.to.Metrics()...)
	return s
}
