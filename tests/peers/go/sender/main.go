// Sender sends with the Go SDK what `expected.json` describes, once; settings come from the variables OTEL_EXPORTER_OTLP_*.
// It takes the exporters of OTEL_EXPORTER_OTLP_PROTOCOL and puts PEERS_CELL into its resource. It fails where the SDK reports
// an error. It does not know the engine: it sends wherever the variables say.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	scope  = "scope ☂"
	schema = "https://opentelemetry.io/schemas/1.37.0"
)

var (
	traceID    = must(trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c"))
	bytes      = []byte{0, 1, 254, 255}
	structure  = []attribute.KeyValue{attribute.Map("inner", attribute.String("deep", "x")), attribute.Slice("list", list...)}
	list       = []attribute.Value{attribute.IntValue(1), attribute.StringValue("two")}
	attributes = []attribute.KeyValue{
		attribute.String("text", "grüß dich, 世界 ☂"), attribute.String("empty", ""),
		attribute.Bool("yes", true), attribute.Bool("no", false),
		attribute.Int64("integer", math.MaxInt64), attribute.Int("negative", -7), attribute.Int("zero", 0),
		attribute.Float64("ratio", -0.25),
		attribute.StringSlice("texts", []string{"a", "ä", "日本"}), attribute.BoolSlice("booleans", []bool{true, false}),
		attribute.Int64Slice("integers", []int64{-1, 9_007_199_254_740_991}),
		attribute.Float64Slice("doubles", []float64{0.5, -1.5e-300}),
		attribute.ByteSlice("bytes", bytes), attribute.Map("map", structure...),
	}
)

// at returns the time some nanoseconds behind the start of the story.
func at(nanoseconds int64) time.Time { return time.Unix(0, 1_700_000_000_000_000_001+nanoseconds) }

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// ids gives the trace, and spans numbered from 1.
type ids struct{ span uint64 }

func (i *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	return traceID, i.NewSpanID(ctx, traceID)
}

func (i *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	i.span++
	return spanID(i.span)
}

func spanID(number uint64) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], number)
	return id
}

func contextOf(id trace.SpanID, state string) context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: id, Remote: true, TraceFlags: trace.FlagsSampled, TraceState: must(trace.ParseTraceState(state)),
	}))
}

func sendSpans(tracer trace.Tracer) {
	linked := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: must(trace.TraceIDFromHex("ffeeddccbbaa99887766554433221100")), SpanID: must(trace.SpanIDFromHex("00f067aa0ba902b7")),
		Remote: true, TraceFlags: trace.FlagsSampled, TraceState: must(trace.ParseTraceState("link=state")),
	})
	parent := contextOf(must(trace.SpanIDFromHex("b7ad6b7169203331")), "vendor=a:1,other=t61rcWkgMzE")
	inside, root := tracer.Start(parent, "root", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at(0)),
		trace.WithAttributes(attributes...), trace.WithLinks(trace.Link{SpanContext: linked, Attributes: attributes}, trace.Link{SpanContext: linked}))
	root.AddEvent("charged ☂", trace.WithTimestamp(at(1)), trace.WithAttributes(attributes...))
	root.AddEvent("bare", trace.WithTimestamp(at(2)))
	root.SetStatus(codes.Error, "declined ☂")
	for _, kind := range []trace.SpanKind{trace.SpanKindInternal, trace.SpanKindClient, trace.SpanKindProducer, trace.SpanKindConsumer} {
		_, span := tracer.Start(inside, kind.String(), trace.WithSpanKind(kind), trace.WithTimestamp(at(0)))
		if kind == trace.SpanKindClient {
			span.SetStatus(codes.Ok, "")
		}
		span.End(trace.WithTimestamp(at(3)))
	}
	root.End(trace.WithTimestamp(at(1_000_000_000)))
}

func sendLogs(logger otellog.Logger) {
	var record otellog.Record
	record.SetTimestamp(at(0))
	record.SetObservedTimestamp(at(9))
	record.SetSeverity(otellog.SeverityError2)
	record.SetSeverityText("Fehler ☂")
	record.SetBody(attribute.StringValue("declined ☂"))
	record.SetEventName("payment.declined")
	record.AddAttributes(attributes...)
	logger.Emit(contextOf(spanID(1), ""), record)
	bodies := []attribute.Value{
		attribute.MapValue(structure...), attribute.ByteSliceValue(bytes),
		attribute.SliceValue(attribute.StringValue("a"), attribute.IntValue(1), attribute.BoolValue(true), attribute.Value{}),
		attribute.IntValue(-7), attribute.Float64Value(0.5), attribute.BoolValue(true), attribute.StringValue(""), {},
	}
	for number, body := range bodies {
		var record otellog.Record
		record.SetTimestamp(at(int64(number) + 1))
		record.SetObservedTimestamp(at(9))
		record.SetBody(body)
		logger.Emit(context.Background(), record)
	}
}

func sendMetrics(meter metric.Meter) {
	outside, inside := context.Background(), contextOf(spanID(1), "")
	kind := func(text string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String("kind", text))
	}
	counter := must(meter.Int64Counter("counter", metric.WithUnit("{order}"), metric.WithDescription("Orders taken ☂")))
	counter.Add(inside, 9_007_199_254_740_991, kind("new"))
	counter.Add(outside, 4, kind("old"))
	must(meter.Float64Counter("counter.double")).Add(outside, 0.25, metric.WithAttributes(attributes...))
	must(meter.Int64UpDownCounter("up_down")).Add(outside, -5)
	must(meter.Float64Gauge("gauge", metric.WithUnit("1"))).Record(outside, -0.25)
	histogram := must(meter.Float64Histogram("histogram", metric.WithUnit("s")))
	for _, seconds := range []float64{0.05, 0.5, 5.5} {
		histogram.Record(inside, seconds, metric.WithAttributes(attribute.String("route", "/pay"), attribute.String("user", "ü")))
	}
	exponential := must(meter.Float64Histogram("exponential", metric.WithUnit("s")))
	for _, seconds := range []float64{0.0, 1.5, 2.5, 40.5} {
		exponential.Record(outside, seconds)
	}
	must(meter.Int64ObservableCounter("observable.counter", metric.WithInt64Callback(
		func(_ context.Context, observer metric.Int64Observer) error {
			observer.Observe(7, kind("new"))
			return nil
		})))
	must(meter.Int64ObservableUpDownCounter("observable.up_down", metric.WithInt64Callback(
		func(_ context.Context, observer metric.Int64Observer) error { observer.Observe(-7); return nil })))
	must(meter.Float64ObservableGauge("observable.gauge", metric.WithFloat64Callback(
		func(_ context.Context, observer metric.Float64Observer) error { observer.Observe(0.75); return nil })))
}

// exporters returns those of the protocol. The SDK has JSON for traces only: the others are nil then.
func exporters(ctx context.Context) (*otlptrace.Exporter, sdkmetric.Exporter, sdklog.Exporter) {
	switch protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "grpc":
		return must(otlptracegrpc.New(ctx)), must(otlpmetricgrpc.New(ctx)), must(otlploggrpc.New(ctx))
	case "http/protobuf":
		return must(otlptracehttp.New(ctx)), must(otlpmetrichttp.New(ctx)), must(otlploghttp.New(ctx))
	case "http/json":
		return must(otlptracehttp.New(ctx)), nil, nil
	default:
		panic("unknown protocol " + protocol)
	}
}

func main() {
	ctx := context.Background()
	var reported error
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { reported = errors.Join(reported, err) }))
	spans, metrics, logs := exporters(ctx)
	origin := resource.NewWithAttributes(schema, append([]attribute.KeyValue{
		attribute.String("service.name", "peers ☂"), attribute.String("peers.cell", os.Getenv("PEERS_CELL"))}, attributes...)...)

	tracing := sdktrace.NewTracerProvider(sdktrace.WithResource(origin), sdktrace.WithIDGenerator(&ids{}), sdktrace.WithBatcher(spans))
	sendSpans(tracing.Tracer(scope, trace.WithInstrumentationVersion("1.2.3"), trace.WithSchemaURL(schema), trace.WithInstrumentationAttributes(attributes...)))
	reported = errors.Join(reported, tracing.Shutdown(ctx))

	if metrics != nil {
		metering := sdkmetric.NewMeterProvider(sdkmetric.WithResource(origin), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)),
			sdkmetric.WithView(
				sdkmetric.NewView(sdkmetric.Instrument{Name: "histogram"}, sdkmetric.Stream{
					AttributeFilter: attribute.NewAllowKeysFilter("route"),
					Aggregation:     sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{0.1, 1.0}},
				}),
				sdkmetric.NewView(sdkmetric.Instrument{Name: "exponential"}, sdkmetric.Stream{
					Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 4, MaxScale: 20},
				}),
			))
		sendMetrics(metering.Meter(scope, metric.WithInstrumentationVersion("1.2.3"), metric.WithSchemaURL(schema), metric.WithInstrumentationAttributes(attributes...)))
		reported = errors.Join(reported, metering.Shutdown(ctx))
	}
	if logs != nil {
		logging := sdklog.NewLoggerProvider(sdklog.WithResource(origin), sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
		sendLogs(logging.Logger(scope, otellog.WithInstrumentationVersion("1.2.3"), otellog.WithSchemaURL(schema), otellog.WithInstrumentationAttributes(attributes...)))
		reported = errors.Join(reported, logging.Shutdown(ctx))
	}
	if reported != nil {
		fmt.Fprintln(os.Stderr, reported)
		os.Exit(1)
	}
}
