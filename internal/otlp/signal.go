package otlp

import (
	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
)

// signal is a kind of telemetry.
type signal struct {
	name   string // as in variables, in lower case
	items  string // what it consists of
	path   string // below the endpoint, over HTTP
	method string // over gRPC
	answer func() proto.Message
}

var (
	metricsSignal = signal{
		"metrics", "points", "/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
		func() proto.Message { return &colmetrics.ExportMetricsServiceResponse{} },
	}
	logsSignal = signal{
		"logs", "findings", "/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
		func() proto.Message { return &collogs.ExportLogsServiceResponse{} },
	}
)

// rejected returns how much of a request that was taken was not, and why.
func rejected(answer proto.Message) (int64, string) {
	switch m := answer.(type) {
	case *colmetrics.ExportMetricsServiceResponse:
		return m.GetPartialSuccess().GetRejectedDataPoints(), m.GetPartialSuccess().GetErrorMessage()
	case *collogs.ExportLogsServiceResponse:
		return m.GetPartialSuccess().GetRejectedLogRecords(), m.GetPartialSuccess().GetErrorMessage()
	}
	return 0, ""
}
