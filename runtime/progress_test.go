package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/progress"
	"thalweg/state"
	"thalweg/stream"
)

// noted is what an application's progress topic says, and how many records it took. Those of processes are left out.
func (h *harness) noted(application string) (known map[progress.Key]progress.Value, records int) {
	h.t.Helper()
	known = map[progress.Key]progress.Value{}
	for _, r := range h.read(progress.TopicName(application)) {
		key, err := progress.DecodeKey(r.Key)
		require.NoError(h.t, err)
		if key.Kind == progress.Processes {
			continue
		}
		records++
		if len(r.Value) == 0 {
			delete(known, key)
			continue
		}
		known[key], err = progress.DecodeValue(r.Value)
		require.NoError(h.t, err)
	}
	return known, records
}

func TestTheProgressTopicNamesWhatTheApplicationHas(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(100)
	app.caughtUp()
	known, records := h.noted("wordcount")
	ids, err := h.admin.ListTopics(h.ctx)
	require.NoError(t, err)
	for _, topic := range []string{byWordChangelog, "wordcount-words-repartition"} {
		v := known[progress.Key{Kind: progress.InternalTopic, Name: topic, Partition: -1}]
		require.Equal(t, [16]byte(ids[topic].ID), v.TopicID)
		require.Equal(t, h.broker.ClusterID(), v.Cluster)
		require.False(t, v.Pending)
	}
	require.Equal(t, progress.Value{
		StoreKind: state.KindKeyValue, Formats: state.Formats{Keys: "string", Values: "int64"},
		Filling: state.FromChangelog, Topic: byWordChangelog, Cluster: h.broker.ClusterID(),
	}, known[progress.Key{Kind: progress.Store, Name: "by-word", Partition: -1}])
	for _, topic := range []string{"lines", "wordcount-words-repartition"} {
		for p := range int32(4) {
			require.Equal(t, progress.Value{
				TopicID: ids[topic].ID, Cluster: h.broker.ClusterID(), Committed: true,
			}, known[progress.Key{Kind: progress.Input, Name: topic, Partition: p}])
		}
	}

	for range 3 { // further commits, and a start, write nothing
		h.feed(50)
		app.caughtUp()
	}
	app.stop()
	h.start(words(t, byWord), cfg).settled().stop()
	again, after := h.noted("wordcount")
	require.Equal(t, known, again)
	require.Equal(t, records, after)
}

// A claim that a crash has left is none: it is looked at again.
func TestAClaimThatWasNotConfirmed(t *testing.T) {
	h := newHarness(t)
	owner := countInto(t, "lines", "", state.NewKV[string, int64]("c"))
	h.start(owner, h.named("a-b")).settled().stop()
	h.start(countInto(t, "lines", "", state.NewKV[string, int64]("d")), h.named("a")).settled().stop()
	h.produce(&kgo.Record{
		Topic: "a-progress",
		Key:   progress.AppendKey(nil, progress.Key{Kind: progress.InternalTopic, Name: "a-b-c-changelog", Partition: -1}),
		Value: progress.AppendValue(nil, progress.Value{Pending: true}),
	})
	err := h.start(countInto(t, "lines", "", state.NewKV[string, int64]("b-c")), h.named("a")).fails()
	require.ErrorContains(t, err, "application a belongs to application a-b,")
	h.start(owner, h.named("a-b")).settled().stop() // its own record is not in question
}

// What others write to the topic is passed over, and a newer build's records are not guessed at.
func TestAProgressTopicWithRecordsOfOthers(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 10)
	h.produce(&kgo.Record{Topic: "wordcount-progress", Key: []byte("x"), Value: []byte("y")})
	log := loggedTo(&cfg)
	h.counted(cfg, 10)
	require.Contains(t, log.String(), "a record of a progress topic is none")
	h.exact()
	h.produce(&kgo.Record{Topic: "wordcount-progress", Key: []byte{9, 1, 0, 0, 0, 0}, Value: []byte("y")})
	require.ErrorContains(t, h.start(words(t, byWord), cfg).fails(), "newest build")
}

// Without state, offsets that are gone are the reset policy's matter.
func TestExpiredOffsetsWithoutState(t *testing.T) {
	h := newHarness(t)
	b := stream.NewBuilder()
	b.Stream(lines).To(stream.NewTopic[string, string]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("v")})
	h.start(topo, cfg).caughtUp().stop()
	_, err = h.admin.DeleteGroup(h.ctx, cfg.ApplicationID)
	require.NoError(t, err)
	log := loggedTo(&cfg)
	h.start(topo, cfg).caughtUp().stop()
	require.Contains(t, log.String(), "the committed offsets of topic lines")
	require.Len(t, h.read("counts"), 2)
}

// The note before an input's first commit is not fenced: a process that has lost the task may write it after its
// successor's commits. It takes back nothing of what the successor has noted.
func TestANoteOfAProcessThatHasLostTheTask(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	known, _ := h.noted(cfg.ApplicationID)
	late := func() {
		for k, v := range known {
			if k.Kind == progress.Input {
				v.Committed = false
				h.produce(&kgo.Record{
					Topic: "wordcount-progress", Key: progress.AppendKey(nil, k), Value: progress.AppendValue(nil, v),
				})
			}
		}
	}
	late()
	h.counted(cfg, 100)
	h.exact()
	again, _ := h.noted(cfg.ApplicationID)
	require.Equal(t, known, again, "it is noted again, for what compaction may leave")

	late()
	_, err := h.admin.DeleteGroup(h.ctx, cfg.ApplicationID)
	require.NoError(t, err)
	require.ErrorContains(t, h.start(words(t, byWord), cfg).fails(), "the committed offsets of group wordcount are gone")
}
