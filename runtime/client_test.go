package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

type note = topology.Record[string, string]

var notes = stream.NewTopic[string, string]("notes")

// client is one of the harness' broker.
func (h *harness) clientOf(cfg runtime.Config) *runtime.Client {
	h.t.Helper()
	c, err := runtime.NewClient(cfg)
	require.NoError(h.t, err)
	h.t.Cleanup(c.Close)
	return c
}

// all reads a topic up to its end.
func all[K, V any](h *harness, c *runtime.Client, t stream.Topic[K, V], from runtime.From) []runtime.Record[K, V] {
	h.t.Helper()
	var out []runtime.Record[K, V]
	for r, err := range c.Read(h.ctx, t, from) {
		require.NoError(h.t, err)
		out = append(out, r)
	}
	return out
}

func values(records []runtime.Record[string, string]) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, r.Value)
	}
	return out
}

func numbered(n int) iter.Seq[note] {
	return func(yield func(note) bool) {
		for i := range n {
			if !yield(note{Key: fmt.Sprint("k", i), Value: fmt.Sprint(i)}) {
				return
			}
		}
	}
}

// What is written comes back as it was, in this process, over requests and over a network, however it is packed.
func TestClientKeepsAllOfARecord(t *testing.T) {
	h := newHarness(t, listening(t))
	requests := h.config()
	requests.NoLocal = true
	for name, cfg := range map[string]runtime.Config{
		"in-process": h.config(), "requests": requests, "network": h.onCluster(),
	} {
		for c := runtime.NoCompression; c <= runtime.Zstd; c++ {
			t.Run(name+" "+c.String(), func(t *testing.T) {
				cfg.Compression, cfg.ApplicationID = c, ""
				client := h.clientOf(cfg)
				topic := stream.NewTopic[*string, []byte](strings.ReplaceAll(t.Name(), "/", "-"))
				require.NoError(t, client.Create(h.ctx, 1, topic))
				key := "k"
				before := time.Now().UnixMilli()
				require.NoError(t, client.Put(h.ctx, topic, &key, []byte{}))
				require.NoError(t, client.Put(h.ctx, topic, nil, nil))
				headers := []topology.Header{{Key: "h", Value: []byte("x")}, {Key: "none"}}
				where, err := client.SendOne(h.ctx, topic, topology.Record[*string, []byte]{
					Key: &key, Value: []byte("v"), Timestamp: 1234, Headers: headers,
				})
				require.NoError(t, err)
				require.Equal(t, topology.Metadata{Topic: topic.Name(), Partition: 0, Offset: 2}, where)
				got := all(h, client, topic, runtime.Earliest())
				require.Len(t, got, 3)
				require.Equal(t, "k", *got[0].Key)
				require.False(t, got[0].NullValue, "empty is not null")
				require.WithinRange(t, time.UnixMilli(got[0].Timestamp), time.UnixMilli(before), time.Now())
				require.True(t, got[1].NullKey && got[1].NullValue)
				require.Equal(t, where, got[2].Metadata)
				require.EqualValues(t, 1234, got[2].Timestamp)
				require.Equal(t, headers, got[2].Headers)
			})
		}
	}
}

func TestClientChoosesPartitionsAsApplicationsDo(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	windows := stream.NewTopic[stream.WindowedKey[string], string]("windows")
	own := stream.NewTopic[string, string]("own").
		Partition(func(_, v string, n int) int { return (len(v) - 1) % n })
	require.NoError(t, client.Create(h.ctx, 5, notes, windows, own))
	require.NoError(t, client.SendAll(h.ctx, notes, numbered(100)))
	for _, r := range all(h, client, notes, runtime.Earliest()) {
		require.Equal(t, topology.PartitionFor([]byte(r.Key), 5), r.Partition)
	}
	for i := range 20 {
		key := stream.WindowKey("page", stream.Span{Start: int64(i), End: int64(i + 1)})
		where, err := client.SendOne(h.ctx, windows, topology.Record[stream.WindowedKey[string], string]{Key: key})
		require.NoError(t, err)
		require.Equal(t, topology.PartitionFor([]byte("page"), 5), where.Partition)
	}
	require.NoError(t, client.Send(h.ctx, own, note{Value: "1"}, note{Value: "22"}, note{Value: "666666"}))
	require.Equal(t, []string{"1", "666666"}, values(all(h, client, own, runtime.Earliest().Partitions(0))))
	require.ErrorContains(t, client.Put(h.ctx, own, "k", ""),
		"record 0: the topic's Partition function chose partition -1 of 5")
	require.NoError(t, client.SendAll(h.ctx, notes, func(yield func(note) bool) {
		for range 10 {
			if !yield(note{NullKey: true, Value: "keyless"}) {
				return
			}
		}
	}))
	keyless := 0
	for _, r := range all(h, client, notes, runtime.Earliest()) {
		if r.NullKey {
			keyless++
		}
	}
	require.Equal(t, 10, keyless)
}

func TestClientReadsFromWhereItIsTold(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 1, notes))
	for i := range 5 {
		require.NoError(t, client.Send(h.ctx, notes, note{Value: fmt.Sprint(i), Timestamp: int64(1000 * (i + 1))}))
	}
	for name, c := range map[string]struct {
		from runtime.From
		want []string
	}{
		"earliest":            {runtime.Earliest(), []string{"0", "1", "2", "3", "4"}},
		"latest":              {runtime.Latest(), []string{}},
		"offset":              {runtime.FromOffset(3), []string{"3", "4"}},
		"offset at the end":   {runtime.FromOffset(5), []string{}},
		"offset after it":     {runtime.FromOffset(50), []string{}},
		"time":                {runtime.FromTime(time.UnixMilli(2500)), []string{"2", "3", "4"}},
		"time after all":      {runtime.FromTime(time.UnixMilli(1_000_000)), []string{}},
		"partition":           {runtime.FromOffset(4).Partitions(0), []string{"4"}},
		"group without place": {runtime.FromOffset(3).Group("g"), []string{"3", "4"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, values(all(h, client, notes, c.from))) })
	}
	for want, from := range map[int64]runtime.From{
		0: runtime.Earliest(), 5: runtime.Latest().Partitions(0), 3: runtime.FromTime(time.UnixMilli(3001)),
	} {
		offsets, err := client.Offsets(h.ctx, notes, from)
		require.NoError(t, err)
		require.Equal(t, map[int32]int64{0: want}, offsets)
	}
	offsets, err := client.Offsets(h.ctx, notes, runtime.Earliest().Group("g"))
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 5}, offsets)
	_, err = client.Offsets(h.ctx, stream.NewTopic[string, string]("none"), runtime.Earliest())
	require.ErrorContains(t, err, "offsets of topic none: ")
	for _, from := range []runtime.From{
		runtime.FromOffset(-1), runtime.Earliest().Partitions(1), runtime.Earliest().Partitions(0).Group("g"),
		runtime.FromTime(time.UnixMilli(-1)),
	} {
		for _, err := range client.Read(h.ctx, notes, from) {
			require.ErrorContains(t, err, "read topic notes: ")
		}
	}
	ends, err := h.admin.ListEndOffsets(h.ctx, "notes")
	require.NoError(t, err)
	_, err = h.admin.DeleteRecords(h.ctx, ends.Offsets())
	require.NoError(t, err)
	require.Empty(t, all(h, client, notes, runtime.Earliest()))
	require.NoError(t, client.Put(h.ctx, notes, "k", "new"))
	require.Equal(t, []string{"new"}, values(all(h, client, notes, runtime.Earliest())))
	for _, err := range client.Read(h.ctx, notes, runtime.FromOffset(2)) {
		require.ErrorContains(t, err, "offset 2 is outside of what the partition holds")
	}
}

// transact writes values in a transaction of their own, which is committed, aborted or left open.
func (h *harness) transact(end string, values ...string) {
	h.t.Helper()
	client := brokertest.Client(h.t, h.broker, kgo.TransactionalID(strings.Join(values, "-")))
	require.NoError(h.t, client.BeginTransaction())
	for _, v := range values {
		r := &kgo.Record{Topic: notes.Name(), Key: []byte("k"), Value: []byte(v)}
		require.NoError(h.t, client.ProduceSync(h.ctx, r).FirstErr())
	}
	if end != "open" {
		require.NoError(h.t, client.EndTransaction(h.ctx, kgo.TransactionEndTry(end == "commit")))
	}
}

func TestClientReadsWhatIsCommittedAndKnowsTheEnd(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 2, notes))
	read := func(from runtime.From) []string { return values(all(h, client, notes, from)) }
	h.transact("abort", "x")
	require.Empty(t, read(runtime.Earliest()), "nothing but an aborted record and a marker")
	require.Empty(t, read(runtime.Earliest().Group("first")))
	h.transact("commit", "a", "b")
	require.Equal(t, []string{"a", "b"}, read(runtime.Earliest()), "a marker is the last record")
	h.transact("abort", "y", "z")
	require.Equal(t, []string{"a", "b"}, read(runtime.Earliest()))
	require.Equal(t, []string{"a", "b"}, read(runtime.Earliest().Group("second")))
	h.transact("open", "o")
	require.NoError(t, client.Put(h.ctx, notes, "k", "behind"))
	require.Equal(t, []string{"a", "b"}, read(runtime.Earliest()), "an open transaction is before it")
	require.Equal(t, []string{"a", "b"}, read(runtime.Earliest().Group("first")))
	require.Empty(t, read(runtime.Earliest().Group("first")), "all is committed, markers too")
}

func TestClientFollows(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 3, notes))
	require.NoError(t, client.SendAll(h.ctx, notes, numbered(10)))
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	got := map[string]bool{}
	var last error
	for r, err := range client.Read(ctx, notes, runtime.Earliest().Follow()) {
		if last = err; err != nil {
			break
		}
		got[r.Value] = true
		switch len(got) {
		case 10:
			require.NoError(t, client.Put(h.ctx, notes, "k", "later"))
		case 11:
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.ErrorContains(t, last, "read topic notes")
	require.True(t, got["later"])
}

func TestClientSkipsWhatCannotBeDecoded(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	numbers := stream.NewTopic[string, int64]("notes")
	require.NoError(t, client.Create(h.ctx, 1, notes))
	require.NoError(t, client.Put(h.ctx, numbers, "a", 1))
	require.NoError(t, client.Put(h.ctx, notes, "b", "no number"))
	require.NoError(t, client.Put(h.ctx, numbers, "c", 3))
	var sum int64
	var failed []error
	for r, err := range client.Read(h.ctx, numbers, runtime.Earliest()) {
		if err != nil {
			failed = append(failed, err)
			require.EqualValues(t, 1, r.Offset)
			require.True(t, r.NullKey && r.NullValue)
			continue
		}
		sum += r.Value
	}
	require.EqualValues(t, 4, sum)
	require.Len(t, failed, 1)
	require.ErrorContains(t, failed[0], "read topic notes partition 0 offset 1: value: ")
}

func TestClientErrorsSayWhatToDo(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	client := h.clientOf(cfg)
	err := client.Put(h.ctx, notes, "k", "v")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	require.ErrorContains(t, err, "send to topic notes: record 0: ")
	require.ErrorContains(t, err, "thalweg topics create")
	last := func(_, _ string, n int) int { return n - 1 }
	err = client.Put(h.ctx, notes.Partition(last), "k", "v")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition, "the partition count is asked for")
	require.ErrorContains(t, err, "thalweg topics create")
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest()) {
		require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
		require.ErrorContains(t, err, "create the topic")
	}
	require.NoError(t, client.Create(h.ctx, 2, notes))
	require.NoError(t, client.Create(h.ctx, 2, notes), "it is there")
	require.NoError(t, client.Create(h.ctx, 0, notes))
	require.ErrorContains(t, client.Create(h.ctx, 3, notes), "topic notes: it exists with 2 partitions, not 3")
	require.ErrorIs(t, client.Create(h.ctx, 3, notes), runtime.ErrTopicShape)
	err = client.Send(h.ctx, notes, note{Value: "fits"}, note{Value: strings.Repeat("x", 1_000_001)})
	require.ErrorIs(t, err, kerr.MessageTooLarge)
	require.ErrorContains(t, err, "record 1: ")
	require.ErrorContains(t, err, "RecordBytesMax")
	require.ErrorContains(t, client.Put(h.ctx, stream.Topic[string, string]{}, "k", "v"), "the name is empty")
	unencodable := stream.NewTopic[string, chan int]("notes")
	require.ErrorContains(t, client.Put(h.ctx, unencodable, "k", nil), "send to topic notes: record 0: value")
	for _, err := range client.Read(h.ctx, unencodable, runtime.Earliest()) {
		require.ErrorContains(t, err, "read topic notes: value")
	}
	require.NoError(t, client.Delete(h.ctx, notes))
	require.NoError(t, client.Delete(h.ctx, notes), "it is gone")
	client.Close()
	require.ErrorContains(t, client.Put(h.ctx, notes, "k", "v"), "the client is closed")
	require.ErrorIs(t, client.Put(h.ctx, notes, "k", "v"), runtime.ErrClosed)
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest()) {
		require.ErrorContains(t, err, "the client is closed")
	}
	_, err = runtime.NewClient(runtime.Config{})
	require.ErrorContains(t, err, "neither Broker nor Seeds")
	cfg.Compression = 9
	_, err = runtime.NewClient(cfg)
	require.ErrorContains(t, err, "unknown Compression 9")
}

func TestClientWithoutABroker(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Broker, cfg.Seeds = nil, []string{unusedAddress(t)}
	cfg.StartTimeout, cfg.RetryTimeout = 200*time.Millisecond, 200*time.Millisecond
	client := h.clientOf(cfg)
	require.ErrorContains(t, client.Ping(h.ctx), "no broker answers at "+cfg.Seeds[0])
	require.ErrorIs(t, client.Ping(h.ctx), runtime.ErrUnreachable)
	require.ErrorContains(t, client.Put(h.ctx, notes, "k", "v"), "no acknowledgment within Config.RetryTimeout, 200ms")
	require.ErrorIs(t, client.Put(h.ctx, notes, "k", "v"), runtime.ErrUnreachable)
	require.ErrorContains(t, client.Create(h.ctx, 1, notes), "is the broker running")
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest()) {
		require.ErrorContains(t, err, "is the broker running")
	}
	ctx, cancel := context.WithCancelCause(h.ctx)
	cancel(errors.New("enough"))
	require.ErrorContains(t, client.Put(ctx, notes, "k", "v"), "enough")
}

func TestClosingAClientEndsItsReads(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 1, notes))
	require.NoError(t, client.Put(h.ctx, notes, "k", "v"))
	var last error
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest().Follow()) {
		last = err
		client.Close()
	}
	require.ErrorContains(t, last, "the client is closed")
}

// A reset that is refused leaves everything as it was.
func TestResetOfARunningApplication(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	app := h.start(words(t, byWord), cfg)
	h.feed(10)
	app.caughtUp()
	names := func() []string {
		h.reconnect() // a client answers from what it knows for a while
		return slices.Sorted(slices.Values(h.topics()))
	}
	before := names()
	require.Contains(t, before, "wordcount-by-word-changelog")
	client := h.clientOf(cfg)
	internal, err := client.InternalTopics(h.ctx, cfg.ApplicationID)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"wordcount-by-word-changelog", "wordcount-words-repartition", "wordcount-progress",
	}, internal)
	require.ErrorContains(t, client.Reset(h.ctx, cfg.ApplicationID), "nothing was deleted")
	require.Equal(t, before, names())
	app.stop()
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID))
	require.Equal(t, []string{"counts", "lines"}, names())
}

func TestResetForgetsAnApplication(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	app := h.start(words(t, byWord), cfg)
	h.feed(10)
	app.caughtUp().stop()
	client := h.clientOf(cfg)
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID))
	topics, err := h.admin.ListTopics(h.ctx)
	require.NoError(t, err)
	names := topics.Names()
	slices.Sort(names)
	require.Equal(t, []string{"counts", "lines"}, names)
	committed, err := h.admin.FetchOffsets(h.ctx, cfg.ApplicationID)
	require.NoError(t, err)
	require.Empty(t, committed)
	require.NoError(t, client.Reset(h.ctx, cfg.ApplicationID), "there is nothing left")
	require.ErrorContains(t, client.Reset(h.ctx, ""), "no application id")
}
