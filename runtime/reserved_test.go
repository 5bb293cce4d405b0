package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// between counts what is between an input and an output by their names.
func between(t *testing.T, in, out string) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string](in)).
		GroupBy("x", func(_, word string) string { return word }).
		Count(state.NewKV[string, int64]("x")).
		ToStream().
		To(stream.NewTopic[string, int64](out))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func TestTopicsOfTheApplicationAreItsOwn(t *testing.T) {
	for topic, what := range map[string]string{
		"a-x-changelog":   `which is the changelog of store "x" in application "a"`,
		"a-x-repartition": `which is the topic of repartition "x" in application "a"`,
		"a-progress":      "which is the topic in which the application lists what it has",
	} {
		cfg := runtime.Config{ApplicationID: "a", Seeds: []string{"nowhere:1"}}
		for does, topo := range map[string]*topology.Topology{
			"reads":  between(t, topic, "out"),
			"writes": between(t, "in", topic),
		} {
			_, err := runtime.New(topo, cfg)
			require.ErrorContains(t, err, does+` topic "`+topic+`", `+what)
			require.ErrorContains(t, err, "reserved_test.go:", "where it is written")
		}
		cfg.Errors = topology.Errors{Process: topology.DeadLetter, DeadLetters: topic}
		_, err := runtime.New(between(t, "in", "out"), cfg)
		if topic != "a-x-repartition" { // which has an error of its own, as all topics that the application reads
			require.ErrorContains(t, err, `Config.Errors.DeadLetters names topic "`+topic+`", `+what)
		}
		cfg = runtime.Config{ApplicationID: "b", Seeds: cfg.Seeds}
		_, err = runtime.New(between(t, topic, topic), cfg)
		require.NoError(t, err, "another application's")
	}
}

// A record that names a topic of the application fails, as one does that names a topic which is not there.
func TestARecordThatNamesATopicOfTheApplication(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Errors.Encode = topology.Skip
	b := stream.NewBuilder()
	in := b.Stream(stream.NewTopic[string, string]("lines"))
	in.GroupByKey().Count(byWord)
	in.ToDynamic(func(_, value string) string { return value })
	topo, err := b.Build()
	require.NoError(t, err)
	app := h.start(topo, cfg).settled()
	for _, name := range []string{"counts", byWordChangelog, "wordcount-progress", "counts"} {
		h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte(name)})
	}
	app.caughtUp().stop()
	skipped := int64(0)
	for _, n := range app.Stats().Nodes {
		skipped += n.Dropped[topology.Skipped.String()]
	}
	require.EqualValues(t, 2, skipped)
	require.Len(t, h.read("counts"), 2)
	for _, r := range h.read(byWordChangelog) {
		require.Len(t, r.Value, 8, "rows alone")
	}
}
