package runtime

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// instance is a node that is at a record of a topic.
func instance(name string, offset int64) *topology.Instance {
	source := &topology.SourceRecord{Topic: "in", Partition: 3, Record: batch.Record{Offset: offset}}
	return &topology.Instance{Node: &topology.Node{Name: name}, Env: &topology.Env{Source: source}}
}

func TestLateRecordsAreSaidAtOnceAndThenOnceAMinute(t *testing.T) {
	var log strings.Builder
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	u := untimely{log: slog.New(slog.NewTextHandler(&log, nil)), clock: func() time.Time { return now }}
	said := func() (lines []string) {
		u.say(now)
		for line := range strings.Lines(log.String()) {
			lines = append(lines, line)
		}
		log.Reset()
		return lines
	}
	u.dropped(instance("counts", 7), 1500)
	lines := said()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "level=WARN")
	require.Contains(t, lines[0], "node=counts records=1 behind=1.5s topic=in partition=3 offset=7")
	for i := range 100 {
		u.dropped(instance("counts", int64(100+i)), int64(2000-i))
		u.dropped(instance("others", int64(i)), 1)
	}
	lines = said()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "node=others records=1 behind=1ms topic=in partition=3 offset=0")
	now = now.Add(sayEvery - 1)
	require.Empty(t, said())
	now = now.Add(1)
	lines = said()
	require.Len(t, lines, 2, "what came is said although nothing comes any more")
	require.Contains(t, strings.Join(lines, ""), "node=counts records=100 behind=2s topic=in partition=3 offset=100")
	require.Contains(t, strings.Join(lines, ""), "node=others records=99")
	now = now.Add(sayEvery)
	require.Empty(t, said())
	u.dropped(instance("counts", 1), 1)
	require.Len(t, said(), 1)
	u.dropped(instance("counts", 1), 1)
	now = now.Add(-24 * time.Hour)
	require.Len(t, said(), 1, "the clock was set back")

	day := now.Add(30 * time.Hour).UnixMilli()
	u.leads(instance("source", 9), day)
	u.leads(instance("source", 10), day)
	u.leads(instance("source-2", 9), day)
	lines = said()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "node=source topic=in partition=3 offset=9 ")
	require.Contains(t, lines[0], "timestamp=2026-01-01T06:02:00.000Z ahead=30h0m0s")
	now = now.Add(sayEvery)
	u.leads(instance("source", 11), day)
	require.Len(t, said(), 1)
	for i := range 2 * aheadMost {
		u.leads(instance(strings.Repeat("x", i), 1), day)
	}
	require.LessOrEqual(t, len(u.ahead), aheadMost)
}
