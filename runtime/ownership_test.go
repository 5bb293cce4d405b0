package runtime_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/progress"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// countInto counts what comes in by key, behind a repartition where one is named.
func countInto(t *testing.T, in, repartition string, store state.KV[string, int64]) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	h := b.Source("in", topology.NewTopic[string, string](in))
	if repartition != "" {
		h = h.Repartition(repartition)
	}
	h.Process("count", func() *counter { return &counter{name: store} }, store).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func (h *harness) named(application string) runtime.Config {
	cfg := h.config()
	cfg.ApplicationID = application
	return cfg
}

// Names of applications and stores, or repartitions, may add up to one topic.
func TestTopicsOfAnotherApplicationAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, topic   string
		first, second func(t *testing.T) *topology.Topology
	}{
		{
			"changelog", "a-b-c-changelog",
			func(t *testing.T) *topology.Topology {
				return countInto(t, "lines", "", state.NewKV[string, int64]("b-c"))
			},
			func(t *testing.T) *topology.Topology {
				return countInto(t, "lines", "", state.NewKV[string, int64]("c"))
			},
		},
		{
			"repartition", "a-b-c-repartition",
			func(t *testing.T) *topology.Topology {
				return countInto(t, "lines", "b-c", state.NewKV[string, int64]("x"))
			},
			func(t *testing.T) *topology.Topology {
				return countInto(t, "lines", "c", state.NewKV[string, int64]("y"))
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			h.produce(&kgo.Record{Topic: "lines", Key: []byte("anna"), Value: []byte("v")})
			one, two := h.named("a"), h.named("a-b")
			first := h.start(c.first(t), one).caughtUp()
			ends := h.ends(c.topic)
			for range 2 { // a claim that came to nothing leaves nothing
				err := h.start(c.second(t), two).fails()
				require.ErrorContains(t, err, c.topic)
				require.ErrorContains(t, err, "application a-b belongs to application a,")
			}
			require.Equal(t, ends, h.ends(c.topic))
			first.stop()
			one.State.FS = vfs.NewMem() // restored from its own changelog alone
			h.start(c.first(t), one).caughtUp().stop()
			require.Len(t, h.read("counts"), 1)

			// The other way round, in another cluster: the name decides nothing.
			h = newHarness(t)
			h.start(c.second(t), h.named("a-b")).settled().stop()
			err := h.start(c.first(t), h.named("a")).fails()
			require.ErrorContains(t, err, "application a belongs to application a-b,")
		})
	}
}

// Of applications that claim a topic at the same time at most one gets it.
func TestATopicIsClaimedByOneApplication(t *testing.T) {
	h := newHarness(t)
	apps := []*running{
		h.start(countInto(t, "lines", "", state.NewKV[string, int64]("b-c")), h.named("a")),
		h.start(countInto(t, "lines", "", state.NewKV[string, int64]("c")), h.named("a-b")),
	}
	refused := 0
	for _, app := range apps {
		if err := app.WaitRunning(h.ctx); err != nil {
			require.ErrorContains(t, err, "belongs to application")
			refused++
		}
	}
	require.Positive(t, refused)
}

func TestResetLeavesTheTopicsOfOtherApplications(t *testing.T) {
	h := newHarness(t)
	other := countInto(t, "lines", "", state.NewKV[string, int64]("c"))
	h.start(other, h.named("a-b")).settled().stop()
	h.start(countInto(t, "lines", "", state.NewKV[string, int64]("d")), h.named("a")).settled().stop()
	require.NoError(t, h.clientOf(h.named("a")).Reset(h.ctx, "a"))
	topics := h.topics()
	require.Contains(t, topics, "a-b-c-changelog")
	require.Contains(t, topics, "a-b-progress")
	require.NotContains(t, topics, "a-d-changelog")
	require.NotContains(t, topics, "a-progress")
	h.start(other, h.named("a-b")).settled().stop()
}

// A claim that a process left behind when it crashed does not keep the topic from the application that has listed it.
func TestResetDeletesListedTopicsThatAnotherApplicationClaims(t *testing.T) {
	h := newHarness(t)
	own := countInto(t, "lines", "", state.NewKV[string, int64]("b-c"))
	h.start(own, h.named("a")).settled().stop()
	h.create(1, "a-b-progress")
	h.produce(&kgo.Record{
		Topic: "a-b-progress",
		Key:   progress.AppendKey(nil, progress.Key{Kind: progress.InternalTopic, Name: "a-b-c-changelog", Partition: -1}),
		Value: progress.AppendValue(nil, progress.Value{Pending: true}),
	})
	require.NoError(t, h.clientOf(h.named("a")).Reset(h.ctx, "a"))
	require.NotContains(t, h.topics(), "a-b-c-changelog")
	require.NotContains(t, h.topics(), "a-progress")
	require.Contains(t, h.topics(), "a-b-progress")
}

// An application that moves to another cluster leaves its copies behind.
func TestAnotherClusterIsNamed(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 10)
	was := h.broker.ClusterID()
	next := newHarness(t)
	cfg.Broker = next.broker
	log := loggedTo(&cfg)
	next.counted(cfg, 10)
	next.exact()
	require.Contains(t, log.String(), "of cluster "+was)
	require.Contains(t, log.String(), "moved to cluster "+next.broker.ClusterID())
}

var (
	users    = stream.NewTopic[string, string]("users")
	userRows = state.NewKV[string, string]("user-rows")
	clicks   = stream.NewTopic[string, string]("clicks")
)

// clicked joins clicks with the users' table.
func clicked(t *testing.T, rules ...stream.Rule) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	if len(rules) > 0 {
		b.OptimizeWith(rules...)
	}
	table := b.Table(users, userRows)
	b.Stream(clicks).LeftJoinTable(table, func(click string, user *string) string {
		if user == nil {
			return click + "/nobody"
		}
		return click + "/" + *user
	}).To(stream.NewTopic[string, string]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// click sends a click for each of ten users and returns what came out for the last of them.
func (h *harness) click(app *running, what string) string {
	h.t.Helper()
	for i := range 10 {
		h.produce(&kgo.Record{Topic: "clicks", Key: []byte{'u', byte('0' + i)}, Value: []byte(what)})
	}
	app.caughtUp()
	last := ""
	for _, r := range h.read("counts") {
		if string(r.Key) == "u9" {
			last = string(r.Value)
		}
	}
	return last
}

func (h *harness) user(name string) {
	h.t.Helper()
	for i := range 10 {
		h.produce(&kgo.Record{Topic: "users", Key: []byte{'u', byte('0' + i)}, Value: []byte(name)})
	}
}

func TestReuseTopicsSwitchedOnRestoresFromTheInput(t *testing.T) {
	for _, lost := range []bool{false, true} {
		h := newHarness(t)
		h.create(1, "users")
		h.create(1, "clicks")
		cfg := h.config()
		h.user("v0")
		app := h.start(clicked(t), cfg).caughtUp()
		require.Equal(t, "a/v0", h.click(app, "a"))
		app.stop()
		if lost {
			cfg.State.FS = vfs.NewMem()
		}
		log := loggedTo(&cfg)
		app = h.start(clicked(t, stream.ReuseTopics), cfg).caughtUp()
		require.Equal(t, "b/v0", h.click(app, "b"))
		h.user("v1")
		app.caughtUp()
		require.Equal(t, "c/v1", h.click(app, "c"))
		app.stop()
		require.Contains(t, log.String(), "store user-rows of application wordcount was filled from its changelog")

		// And off again: the changelog has the rows of before.
		err := h.start(clicked(t), cfg).fails()
		require.ErrorContains(t, err, "store user-rows")
		require.ErrorContains(t, err, "users")
		require.ErrorContains(t, err, "Optimize")
	}
}
