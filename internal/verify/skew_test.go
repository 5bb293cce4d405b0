//go:build kill

package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

// skewCommand makes this test's own executable the application under test.
const skewCommand = "run-skew"

const (
	skewPartitions = 4
	skewKeys       = 7
	skewBase       = int64(1_700_000_000_000)
	skewSize       = 10 * time.Second
	skewGrace      = time.Minute
	skewSession    = 6 * time.Second
	skewNap        = 64 // records between two pauses of a slow application
)

var (
	skewEvents = stream.NewTopic[string, string]("skew-events")
	skewCounts = stream.NewTopic[string, int64]("skew-out-counts")
)

// runSkew counts events by value in windows behind a repartition. Told to stop it does what there is to do, and prints
// what it dropped. Arguments: the broker's address, the state's directory, the number of workers, the pause after each
// skewNap records, "close" for windows that emit when they close, and "off" for time that is not aligned.
func runSkew(args []string) {
	workers, err1 := strconv.Atoi(args[2])
	pause, err2 := time.ParseDuration(args[3])
	emit := stream.OnCommit
	if args[4] == "close" {
		emit = stream.OnClose
	}
	var seen atomic.Int64
	b := stream.NewBuilder()
	b.Stream(skewEvents).
		Peek(func(string, string) {
			if pause > 0 && seen.Add(1)%skewNap == 0 {
				<-time.After(pause)
			}
		}).
		SelectKey(func(_, v string) string { return v }).
		Repartition("by-value").
		GroupByKey().
		Windowed(stream.Tumbling(skewSize, skewGrace)).
		Emit(emit).
		Count(state.NewWindowed[string, int64]("skew-windows")).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To(skewCounts)
	topo, err3 := b.Build()
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			panic(err)
		}
	}
	app, err := runtime.New(topo, runtime.Config{
		ApplicationID: "skew", Seeds: []string{args[0]},
		State:          runtime.StateConfig{Dir: args[1]},
		Workers:        workers,
		SessionTimeout: skewSession, Alignment: runtime.Alignment{Off: args[5] == "off"},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- app.Run(context.Background()) }()
	<-ctx.Done()
	err = errors.Join(app.WaitCaughtUp(context.Background()), app.Close(context.Background()), <-ran)
	if err != nil {
		panic(err)
	}
	dropped := int64(0)
	for _, n := range app.Stats().Nodes {
		for _, count := range n.Dropped {
			dropped += count
		}
	}
	fmt.Println("dropped", dropped)
}

// skewInput is a record a second in each partition, from a time on that is the partition's own.
type skewInput struct {
	records int   // a partition
	behind  int64 // milliseconds by which the clock of partition 1 is behind
}

func (in skewInput) at(p, i int) int64 {
	at := skewBase + int64(i)*1000
	if p == 1 {
		at -= in.behind
	}
	return at
}

// counts are what windows have: all of them, or those that are closed when all has been read in the order of its times.
func (in skewInput) counts(closed bool) map[string]int64 {
	counts := map[string]int64{}
	newest := in.at(0, in.records-1)
	size, grace := skewSize.Milliseconds(), skewGrace.Milliseconds()
	for p := range skewPartitions {
		for i := range in.records {
			if start := in.at(p, i) / size * size; !closed || start+size+grace <= newest {
				counts[fmt.Sprintf("k%d@%d", i%skewKeys, start)]++
			}
		}
	}
	return counts
}

func (in skewInput) feed(t *testing.T, addr string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer client.Close()
	forever := "-1"
	made, err := kadm.NewClient(client).CreateTopics(t.Context(), skewPartitions, 1,
		map[string]*string{"retention.ms": &forever}, skewEvents.Name(), skewCounts.Name())
	require.NoError(t, err)
	require.NoError(t, made.Error())
	var failed atomic.Pointer[error]
	for p := range skewPartitions {
		for i := range in.records {
			client.Produce(t.Context(), &kgo.Record{
				Topic: skewEvents.Name(), Partition: int32(p), Value: fmt.Appendf(nil, "k%d", i%skewKeys),
				Timestamp: time.UnixMilli(in.at(p, i)),
			}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
		}
	}
	require.NoError(t, client.Flush(t.Context()))
	if err := failed.Load(); err != nil {
		require.NoError(t, *err)
	}
}

// skewRun is an application on a backlog.
type skewRun struct {
	skewInput
	workers int
	stopped time.Duration // for how long the second of two processes is stopped; 0: there is one process
	close   bool          // windows emit when they close
}

func (run skewRun) String() string {
	s := fmt.Sprintf("%d records, %d workers", run.records, run.workers)
	if run.stopped > 0 {
		s += fmt.Sprintf(", stopped for %v", run.stopped)
	}
	if run.behind > 0 {
		s += ", a clock behind"
	}
	return s
}

// TestSkew processes a backlog of several partitions: whichever task is faster, nothing is late behind the repartition,
// and all counts are right.
func TestSkew(t *testing.T) {
	sizes := []int{1_000, 10_000, 100_000}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, records := range sizes {
		for workers := 1; workers <= 2; workers++ {
			in := skewInput{records: records}
			behind := skewInput{records, 2 * time.Hour.Milliseconds()}
			for _, run := range []skewRun{
				{in, workers, 0, false}, {in, workers, skewSession / 3, false}, {in, workers, 2 * skewSession, false},
				{behind, workers, 0, true},
			} {
				t.Run(run.String(), run.check)
			}
		}
	}
}

func (run skewRun) check(t *testing.T) {
	b := serve(t, t.TempDir(), "127.0.0.1:0")
	run.feed(t, b.addr)
	want := run.counts(run.close)
	require.NotEmpty(t, want)
	emit, pause, processes := "commit", time.Duration(0), 1
	if run.close {
		emit = "close"
	}
	if run.stopped > 0 { // it takes about four seconds, if nobody is stopped
		processes, pause = 2, 4*time.Second*skewNap/time.Duration(run.records*skewPartitions/2)
	}
	began := time.Now()
	all := make([]*process, processes)
	for i := range all {
		all[i] = start(t, os.Args[0], skewCommand, b.addr, t.TempDir(), strconv.Itoa(run.workers), pause.String(), emit,
			os.Getenv("SKEW"))
	}
	if run.stopped > 0 {
		require.Eventually(t, func() bool { return skewMembers(t, b.addr) == processes && run.committed(t, b.addr) > 0 },
			finishWithin, 10*time.Millisecond)
		all[1].signal(syscall.SIGSTOP)
		all[0].exitsWithin(run.stopped)
		all[1].signal(syscall.SIGCONT)
	}
	got := map[string]int64{}
	read := func() {
		readCommitted(t, b.addr, skewCounts.Name(), func(r *kgo.Record) {
			got[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		})
	}
	require.Eventually(t, func() bool {
		if run.close { // the last windows close some time after the last record
			read()
			return len(got) >= len(want)
		}
		return run.committed(t, b.addr) == int64(run.records*skewPartitions)
	}, finishWithin, 200*time.Millisecond)
	took := time.Since(began)
	dropped := 0
	for _, p := range all {
		p.signal(syscall.SIGTERM)
		out := string(p.succeeds())
		n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out, "dropped ")))
		require.NoError(t, err, out)
		dropped += n
	}
	require.Zero(t, dropped, "records that were late")
	read()
	require.True(t, maps.Equal(want, got), "counts")
	t.Logf("%d windows in %v", len(got), took.Round(100*time.Millisecond))
}

// skewMembers is how many processes have tasks.
func skewMembers(t *testing.T, addr string) (members int) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer client.Close()
	groups, err := kadm.NewClient(client).DescribeGroups(t.Context(), "skew")
	require.NoError(t, err)
	if groups["skew"].State != "Stable" {
		return 0
	}
	return len(groups["skew"].Members)
}

// committed is how many records of the input the group has committed.
func (run skewRun) committed(t *testing.T, addr string) (sum int64) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(t.Context(), "skew")
	if err != nil {
		return 0
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == skewEvents.Name() {
			sum += o.At
		}
	})
	return sum
}
