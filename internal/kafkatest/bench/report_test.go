package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parsed(t *testing.T, line string) (r result) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(line), &r))
	return r
}

func TestReport(t *testing.T) {
	o, err := parse([]string{"-w", "wordcount", "-guarantee", "alo", "-pairs", "3"})
	require.NoError(t, err)
	theirs := `{"records":10,"words":100,"wall_s":4,"cpu_s":5,"per_s":250000,"per_cpu_s":200000,"peak_rss_mib":1000,` +
		`"results":7,"checked":"7 keys add up to 100"}`
	var all pairs
	for _, perCPU := range []string{"3000000", "1000000", "2000000"} {
		ours := strings.ReplaceAll(theirs, "200000,", perCPU+",")
		all = append(all, pair{parsed(t, ours), parsed(t, theirs)})
	}
	require.NoError(t, same(o.workload, all[0].ours, all[0].theirs))
	report := all.report(o)
	require.Contains(t, report, "wordcount: at-least-once, commit interval 10 to 100 ms by load (Kafka Streams: 30s)")
	require.Regexp(t, `words per CPU-second +2\.00 M \(1\.00 M–3\.00 M\) +200 k \(200 k–200 k\) +10\.00 \(5\.00–15\.00\)`,
		report)
	require.Regexp(t, `CPU time per word +500 ns \(333 ns–1000 ns\) +5000 ns`, report)
	require.Contains(t, report, "results: 7 keys add up to 100")
}

func TestReportOfLatencies(t *testing.T) {
	o, err := parse([]string{"-w", "latency", "-rate", "5000", "-commit", "10ms"})
	require.NoError(t, err)
	all := pairs{{
		parsed(t, `{"latency_ms":{"P50":10,"P99":20,"P999":30,"Max":40}}`),
		parsed(t, `{"latency_ms":{"P50":50,"P99":400,"P999":450,"Max":500}}`),
	}}
	report := all.report(o)
	require.Contains(t, report, "latency, 5000 records/s: exactly-once, commit interval 10ms, ")
	require.Regexp(t, `latency p99 +20\.0 ms +400\.0 ms +20\.00\n`, report)
}

func TestDifferentWorkIsAnError(t *testing.T) {
	ours := parsed(t, `{"records":10,"results":7,"checked":"7 results"}`)
	theirs := parsed(t, `{"records":10,"results":8,"checked":"8 results"}`)
	require.ErrorContains(t, same("count", ours, theirs), "8 results")
	require.ErrorContains(t, same("count", ours, parsed(t, `{"records":9,"results":7}`)), "9")
}

func TestBadFlags(t *testing.T) {
	for _, line := range []string{"", "-w marathon", "-w count -pairs 0", "-w count -guarantee maybe"} {
		_, err := parse(strings.Fields(line))
		require.Error(t, err, line)
	}
}

func TestReportOfBrokers(t *testing.T) {
	o, err := parse([]string{"-w", "broker-many", "-sync", "never"})
	require.NoError(t, err)
	all := pairs{{
		parsed(t, `{"per_s":2000,"load":{"broker_ns":200,"idle_cores":0,"idle_rss_mib":100}}`),
		parsed(t, `{"per_s":1000,"load":{"broker_ns":1000,"idle_cores":0.05,"idle_rss_mib":800}}`),
	}}
	require.NoError(t, same(o.workload, all[0].ours, all[0].theirs))
	report := all.report(o)
	require.Contains(t, report, "sync never; Apache Kafka 4.3.1")
	require.Regexp(t, `broker CPU per record +200 ns +1000 ns +5\.00\n`, report)
	require.Regexp(t, `idle, share of a core +0\.0000 +0\.0500 +\+Inf\n`, report)
	require.NotContains(t, report, "ceiling", "it is not measured")
	require.Equal(t, "broker CPU per record 200 ns and 1000 ns, ratio 5.00", all.summary())
}
