package runtime_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// means are an aggregate whose serde does not have all values, and whose rows grow.
type means struct {
	Sum   float64
	Names []string
}

// Records that fail in every phase, under both guarantees, between good ones: they are found, one dead letter each, and
// the rest counts once.
func TestThePolicyReachesEveryFailure(t *testing.T) {
	type measure struct {
		Name  string
		Value float64
	}
	in := stream.NewTopic[string, measure]("measures").Values(serde.JSON[measure]()).Timestamps(
		func(r topology.Record[string, measure], _ int64) int64 {
			if r.Value.Name == "no time" {
				panic("no time")
			}
			return r.Timestamp
		})
	rows := state.NewKV[string, means]("means").Values(serde.JSON[means]())
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Aggregate(rows, func() means { return means{} }, func(_ string, v measure, m means) means {
		if v.Name == "panic" {
			panic("a bad measure")
		}
		if v.Value < 0 {
			v.Value = math.NaN()
		}
		return means{m.Sum + v.Value, append(m.Names, v.Name)}
	}).ToStream().MapValues(func(m means) float64 { return m.Sum }).To(stream.NewTopic[string, float64]("sums"))
	topo, err := b.Build()
	require.NoError(t, err)
	bad := []string{
		`{broken`, `{"Name":"no time"}`, `{"Name":"panic"}`, `{"Name":"no number","Value":-1}`,
		`{"Name":"` + strings.Repeat("x", 40_000) + `"}`, // the second of its kind
	}
	large := strings.Replace(bad[4], "}", `,"Value":1}`, 1)
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.create(2, "measures")
			h.create(2, "sums")
			h.create(1, "dead")
			cfg := h.config()
			cfg.Guarantee, cfg.Limits.RecordBytesMax = guarantee, 70_000
			cfg.Errors = topology.Errors{
				Decode: topology.DeadLetter, Process: topology.DeadLetter, Encode: topology.DeadLetter, DeadLetters: "dead",
			}
			var records []*kgo.Record
			for i, v := range bad {
				if i == 4 {
					records = append(records, &kgo.Record{Topic: "measures", Key: []byte("k"), Value: []byte(large)})
				}
				for _, v := range []string{`{"Name":"n","Value":1}`, v, `{"Name":"m","Value":1}`} {
					records = append(records, &kgo.Record{Topic: "measures", Key: []byte("k"), Value: []byte(v)})
				}
			}
			h.produce(records...)
			app := h.start(topo, cfg)
			app.caughtUp().stop()
			var letters []string
			for _, l := range h.read("dead") {
				letters = append(letters, string(l.Value))
			}
			require.ElementsMatch(t, short(bad), short(letters))
			cfg.State.FS = vfs.NewMem()
			app = h.start(topo, cfg)
			h.produce(&kgo.Record{Topic: "measures", Key: []byte("k"), Value: []byte(`{"Name":"n","Value":1}`)})
			app.caughtUp().stop()
			sums := h.read("sums")
			sum, err := serde.For[float64]().Decode(sums[len(sums)-1].Value)
			require.NoError(t, err)
			require.InDelta(t, 2*len(bad)+2, sum, 0)
		})
	}
}

func short(values []string) (cut []string) {
	for _, v := range values {
		cut = append(cut, v[:min(len(v), 30)])
	}
	return cut
}

// State lies in the user's directory for state by default. What an earlier version left elsewhere stays there.
func TestTheDefaultStateDirectory(t *testing.T) {
	home, temporary := t.TempDir(), t.TempDir()
	t.Setenv("XDG_STATE_HOME", home)
	t.Setenv("TMPDIR", temporary)
	former := filepath.Join(temporary, "thalweg", "wordcount")
	require.NoError(t, os.MkdirAll(filepath.Join(former, "state"), 0o755))
	h := newHarness(t)
	cfg := h.config()
	cfg.State.Dir, cfg.State.FS = "", nil
	log := loggedTo(&cfg)
	h.start(words(t, byWord), cfg).settled().stop()
	require.DirExists(t, filepath.Join(home, "thalweg", "wordcount", "state"))
	require.Equal(t, 1, strings.Count(log.String(), "left="+former))
	require.Contains(t, log.String(), "directory="+filepath.Join(home, "thalweg", "wordcount"))
}

// A program without stores needs no directory, and one with stores says which setting it lacks.
func TestAProgramWithoutAHome(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "")
	h := newHarness(t)
	cfg := h.config()
	cfg.State.Dir, cfg.State.FS = "", nil
	_, err := runtime.New(words(t, byWord), cfg)
	require.ErrorIs(t, err, runtime.ErrStateUnusable)
	require.ErrorContains(t, err, "Set Config.State.Dir")
	h.create(1, "ins")
	h.create(1, "copies")
	h.start(copying(t, ins), cfg).caughtUp().stop()
}

// A dead letter that the application reads would fail again, and be written again, without end.
func TestDeadLettersThatTheApplicationReads(t *testing.T) {
	h := newHarness(t)
	prices := stream.NewTopic[string, string]("prices")
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("lines")).Repartition("again").ForEach(func(string, string) {})
	b.GlobalTable(prices, state.NewKV[string, string]("prices"))
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	for _, topic := range []string{"lines", "prices", cfg.ApplicationID + "-again-repartition"} {
		cfg.Errors = topology.Errors{Process: topology.DeadLetter, DeadLetters: topic}
		_, err := runtime.New(topo, cfg)
		require.ErrorContains(t, err, `Errors.DeadLetters is "`+topic+`", which the application reads itself`)
		require.ErrorContains(t, err, "policy_test.go:")
		require.ErrorContains(t, err, "name another topic")
	}
	cfg.Errors.DeadLetters = "again"
	_, err = runtime.New(topo, cfg)
	require.NoError(t, err)
}

// A record that cannot be decoded stops an application without a policy, and the error says how it can go on.
func TestARecordThatCannotBeDecodedSaysWhatToDo(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, int64]("lines")).To(stream.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	h := newHarness(t)
	h.produce(line("no number"))
	err = h.start(topo, h.config()).fails()
	require.ErrorContains(t, err, "decode: node")
	require.ErrorContains(t, err, "offset 0: value: int64")
	require.ErrorContains(t, err, "Config.Errors.Decode")
}

// A dead letter without a key lies in the partition of its record's task: the test driver does the same.
func TestThePartitionOfADeadLetter(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(ins).MapValues(func(string) string { panic("a bad record") }).To(copies)
	topo, err := b.Build()
	require.NoError(t, err)
	for _, action := range []topology.Decision{topology.DeadLetter, topology.DeadLetterAndFail} {
		for p := range int32(4) {
			h := newHarness(t)
			h.create(4, "ins")
			h.create(1, "copies")
			h.create(4, "dead")
			cfg := h.config()
			cfg.Errors = topology.Errors{Process: action, DeadLetters: "dead"}
			client := brokertest.Client(t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
			bad := &kgo.Record{Topic: "ins", Partition: p, Value: []byte("bad")}
			require.NoError(t, client.ProduceSync(h.ctx, bad).FirstErr())
			app := h.start(topo, cfg)
			if action == topology.DeadLetterAndFail {
				require.ErrorContains(t, app.fails(), "a bad record")
			} else {
				app.caughtUp().stop()
			}
			letters := h.read("dead")
			require.Len(t, letters, 1)
			require.Equal(t, p, letters[0].Partition)
		}
	}
}
