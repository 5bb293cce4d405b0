//go:build kill

package verify

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// mixedCommand makes this test's own executable the application under test.
const mixedCommand = "run-mixed"

const mixedPartitions = 3

// What the mixed application reads and writes. An event names a side of the join and a name, "l12" or "r7".
var (
	mixedEvents   = stream.NewTopic[string, string]("mixed-events")
	mixedNames    = stream.NewTopic[string, string]("mixed-names")
	mixedSessions = stream.NewTopic[string, int64]("mixed-out-sessions")
	mixedMeetings = stream.NewTopic[string, string]("mixed-out-meetings")
	mixedRows     = stream.NewTopic[string, string]("mixed-out-rows")
)

// mixedTopology has a session window, an outer join of streams, and a foreign-key join of tables. What it makes of each
// partition of the events depends on nothing but their order, but for the times of rows.
func mixedTopology() (*topology.Topology, error) {
	b := stream.NewBuilder()
	events := b.Stream(mixedEvents)
	events.GroupByKey().
		Sessions(stream.SessionGap(time.Second, 200*time.Millisecond)).
		Count(state.NewSession[string, int64]("sessions")).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s[%d/%d]", k, w.Start, w.End) }).
		To(mixedSessions)

	sides := events.Split(func(_, v string) bool { return v[0] == 'l' })
	sides[0].OuterJoin(sides[1], stream.Around(time.Second, 200*time.Millisecond), "meetings",
		func(l, r *string) string {
			text := [2]string{"~", "~"}
			for i, v := range []*string{l, r} {
				if v != nil {
					text[i] = *v
				}
			}
			return text[0] + "+" + text[1]
		}).
		To(mixedMeetings)

	events.ToTable(state.NewKV[string, string]("rows")).
		JoinForeign(b.Table(mixedNames, state.NewKV[string, string]("names")),
			func(_, v string) (string, bool) { return v[1:], true }, "named",
			func(v, name string) string { return v + " is " + name }).
		ToStream().
		To(mixedRows)
	return b.Build()
}

// mixed runs the application until it has done all that there is to do.
func mixed(args []string) {
	topo, err := mixedTopology()
	if err != nil {
		panic(err)
	}
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: "mixed", Seeds: []string{args[0]},
		State:   runtime.StateConfig{Dir: args[1]},
		Workers: 2,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	err = app.WaitCaughtUp(ctx)
	if closeErr := app.Close(ctx); err == nil {
		err = closeErr
	}
	if runErr := <-ran; runErr != nil {
		err = runErr
	}
	if err != nil {
		panic(err)
	}
}

// mixedRecord is a record of the input.
type mixedRecord struct {
	topic     stream.Topic[string, string]
	partition int32
	topology.Record[string, string]
}

// mixedInput is events that come a little out of order, and names that change meanwhile.
func mixedInput(r *rand.Rand, events int) (records []mixedRecord) {
	add := func(topic stream.Topic[string, string], key, value string, at int64) {
		records = append(records, mixedRecord{topic, topology.PartitionFor([]byte(key), mixedPartitions),
			topology.Record[string, string]{Key: key, Value: value, Timestamp: at}})
	}
	for i := range events {
		at := int64(1000 + i)
		key, side, name := fmt.Sprintf("k%d", r.IntN(2000)), "lr"[r.IntN(2)], r.IntN(50)
		add(mixedEvents, key, fmt.Sprintf("%c%d", side, name), at-r.Int64N(100))
		if i%1000 == 0 {
			add(mixedNames, fmt.Sprint(r.IntN(50)), fmt.Sprintf("name %d", i), at)
		}
	}
	// What closes all windows. Each partition has a key of its own: a foreign-key join tells only one row of a key when
	// the name changes.
	for p := range int32(mixedPartitions) {
		add(mixedEvents, fmt.Sprint("end", p), "l0", int64(events)+1_000_000)
		records[len(records)-1].partition = p
	}
	return records
}

// mixedResults are what the application has made: rows by key, meetings in order.
type mixedResults struct {
	sessions, rows map[string]string
	meetings       []string
}

// mixedExpected runs the application in memory, without trouble.
func mixedExpected(t *testing.T, input []mixedRecord) mixedResults {
	topo, err := mixedTopology()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Partitions: mixedPartitions, CommitEvery: 1000})
	in := map[string]*streamtest.Input[string, string]{}
	for _, topic := range []stream.Topic[string, string]{mixedEvents, mixedNames} {
		in[topic.Name()] = d.Input(topic)
	}
	for _, r := range input {
		in[r.topic.Name()].Append(r.partition, r.Record)
	}
	d.Run()
	d.Commit()
	out := mixedResults{sessions: map[string]string{}, rows: streamtest.Latest(d.Output(mixedRows))}
	for key, n := range streamtest.Latest(d.Output(mixedSessions)) {
		out.sessions[key] = fmt.Sprint(n)
	}
	out.meetings = d.Output(mixedMeetings).ReadStrings()
	slices.Sort(out.meetings)
	return out
}

// mixedPublished reads what the application has written.
func mixedPublished(t *testing.T, addr string) mixedResults {
	out := mixedResults{sessions: map[string]string{}, rows: map[string]string{}}
	table := func(topic string, rows map[string]string, text func([]byte) string) {
		readCommitted(t, addr, topic, func(r *kgo.Record) {
			if r.Value == nil {
				delete(rows, string(r.Key))
				return
			}
			rows[string(r.Key)] = text(r.Value)
		})
	}
	_, counts := mixedSessions.Serdes()
	table(mixedSessions.Name(), out.sessions, func(v []byte) string {
		n, err := counts.Decode(v)
		require.NoError(t, err)
		return fmt.Sprint(n)
	})
	table(mixedRows.Name(), out.rows, func(v []byte) string { return string(v) })
	readCommitted(t, addr, mixedMeetings.Name(), func(r *kgo.Record) {
		out.meetings = append(out.meetings, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp.UnixMilli()))
	})
	slices.Sort(out.meetings)
	return out
}

// mixedFeed makes the topics and writes the input.
func mixedFeed(t *testing.T, addr string, input []mixedRecord) {
	ctx := t.Context()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer client.Close()
	forever := "-1"
	made, err := kadm.NewClient(client).CreateTopics(ctx, mixedPartitions, 1, map[string]*string{"retention.ms": &forever},
		mixedEvents.Name(), mixedNames.Name(), mixedSessions.Name(), mixedMeetings.Name(), mixedRows.Name())
	require.NoError(t, err)
	require.NoError(t, made.Error())
	failed := make(chan error, 1)
	for _, r := range input {
		client.Produce(ctx, &kgo.Record{
			Topic: r.topic.Name(), Partition: r.partition, Key: []byte(r.Key), Value: []byte(r.Value),
			Timestamp: time.UnixMilli(r.Timestamp),
		}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	require.NoError(t, client.Flush(ctx))
	select {
	case err := <-failed:
		require.NoError(t, err)
	default:
	}
}

// TestKillMixed kills the application, or its broker, at random moments: what it has written in the end is what it
// writes undisturbed.
func TestKillMixed(t *testing.T) {
	for _, victim := range []string{"application", "broker"} {
		t.Run(victim, func(t *testing.T) {
			s := scaled(scale{kills: 5, lines: 400_000}, scale{kills: 1, lines: 100_000})
			r := seeded(t)
			inRounds(s.kills, func(kills int) (killed int) {
				input := mixedInput(r, s.lines)
				want := mixedExpected(t, input)
				dir := t.TempDir()
				b := serve(t, dir, "127.0.0.1:0")
				mixedFeed(t, b.addr, input)
				p := start(t, os.Args[0], mixedCommand, b.addr, t.TempDir())
				strike := func() *process { p = p.restart(); return p }
				if victim == "broker" {
					strike = func() *process { return b.restart(r, dir, p) }
				}
				_, killed = killing(t, r, kills, p, strike)
				want.check(t, mixedPublished(t, b.addr))
				b.kill()
				return killed
			})
		})
	}
}

func (want mixedResults) check(t *testing.T, got mixedResults) {
	t.Helper()
	same := func(what string, want, got []string) {
		t.Helper()
		t.Logf("%d %s", len(want), what)
		require.NotEmpty(t, want)
		for i := range min(len(want), len(got)) {
			if want[i] != got[i] {
				require.FailNow(t, "different "+what, "want %s\ngot  %s, at %d of %d and %d", want[i], got[i], i, len(want),
					len(got))
			}
		}
		require.Len(t, got, len(want), what)
	}
	flat := func(rows map[string]string) (lines []string) {
		for k, v := range rows {
			lines = append(lines, k+"="+v)
		}
		slices.SortFunc(lines, strings.Compare)
		return lines
	}
	same("sessions", flat(want.sessions), flat(got.sessions))
	same("meetings", want.meetings, got.meetings)
	same("rows", flat(want.rows), flat(got.rows))
}
