package runtime_test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// The ways out of a refusal, by words of its text.
const (
	fromTheBeginning = "to process the input from the beginning: "
	without          = "To go on without it"
	empty            = "to start it empty at the committed offsets: "
	whatIsLeft       = "To go on with the rows that topic "
	giveUp           = "to give them up: "
	refill           = "to fill it again from topic users: "
)

var (
	stepNumber  = regexp.MustCompile(`\(\d\) `)
	dropCommand = regexp.MustCompile("^run `thalweg state drop (\\S+) (\\S+?)(?: -task (\\S+))?` on each machine")
	deletion    = regexp.MustCompile("`thalweg topics delete ([^`]+)`")
	resetting   = regexp.MustCompile(`^reset it \(Client.Reset with "(\S+)"\)`)
	committing  = regexp.MustCompile(`^commit offset 0 for all partitions of topic (\S+) \(.*--group (\S+) `)
	removal     = regexp.MustCompile(`^remove (\S+) on each machine`)
)

// follow does what the text of a refusal says for one of its ways out, step by step, and nothing else. A text has a
// line for each thing that is refused; what several of them say is done once.
func (h *harness) follow(cfg runtime.Config, refusal error, way string) {
	h.t.Helper()
	deleted := map[string]bool{}
	for line := range strings.Lines(refusal.Error()) {
		_, text, found := strings.Cut(line, way)
		require.True(h.t, found, "%q in: %v", way, refusal)
		text, _, _ = strings.Cut(text, ". Or, ")
		steps := stepNumber.Split(text, -1)[1:]
		require.NotEmpty(h.t, steps, text)
		for _, step := range steps {
			h.do(cfg, strings.TrimSuffix(strings.TrimSpace(step), ","), deleted)
		}
	}
}

func (h *harness) do(cfg runtime.Config, step string, deleted map[string]bool) {
	h.t.Helper()
	switch {
	case strings.HasPrefix(step, "close all processes"), strings.HasPrefix(step, "start "):
	case dropCommand.MatchString(step):
		m := dropCommand.FindStringSubmatch(step)
		h.drop(cfg, m[1], m[2], m[3])
	case deletion.MatchString(step):
		for _, topic := range strings.Fields(deletion.FindStringSubmatch(step)[1]) {
			if !deleted[topic] {
				h.remove(topic)
			}
			deleted[topic] = true
		}
	case resetting.MatchString(step):
		require.NoError(h.t, h.clientOf(cfg).Reset(h.ctx, resetting.FindStringSubmatch(step)[1]))
		h.reconnect()
	case committing.MatchString(step):
		m := committing.FindStringSubmatch(step)
		starts, err := h.admin.ListStartOffsets(h.ctx, m[1])
		require.NoError(h.t, err)
		require.NoError(h.t, h.admin.CommitAllOffsets(h.ctx, m[2], starts.Offsets()))
	case removal.MatchString(step):
		require.NoError(h.t, cfg.State.FS.RemoveAll(removal.FindStringSubmatch(step)[1]))
	default:
		require.Fail(h.t, "nobody knows how to do this", step)
	}
}

// drop is thalweg state drop.
func (h *harness) drop(cfg runtime.Config, dir, store, tasks string) {
	h.t.Helper()
	l, err := runtime.OpenLocalState(dir, cfg.State.FS)
	require.NoError(h.t, err)
	stores, err := l.Stores()
	require.NoError(h.t, err)
	stores = slices.DeleteFunc(stores, func(s runtime.LocalStore) bool {
		return s.Store != store || tasks != "" && !slices.Contains(strings.Split(tasks, ","), s.Task)
	})
	require.NoError(h.t, l.Drop(h.ctx, stores...))
	require.NoError(h.t, l.Close())
}

// count feeds one record to an application that counts by key, and returns the rows.
func (h *harness) count(topo *topology.Topology, cfg runtime.Config) map[string]int64 {
	h.t.Helper()
	app := h.start(topo, cfg).settled()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("v")})
	rows := app.caughtUp().rows()
	app.stop()
	return rows
}

func keyCounts(n int64) map[string]int64 { return map[string]int64{"k": n} }

// What a refusal says leads to an application that runs, whatever was done to its topics and stores.
func TestRefusalsNameAllSteps(t *testing.T) {
	durable := func(t *testing.T) *topology.Topology { return countInto(t, "lines", "", byWord) }
	volatile := func(t *testing.T) *topology.Topology { return countInto(t, "lines", "", byWord.Volatile()) }
	for _, c := range []struct {
		name   string
		before func(t *testing.T) *topology.Topology // counts to 2
		breaks func(h *harness, cfg *runtime.Config)
		after  func(t *testing.T) *topology.Topology // is refused
		rows   map[string]map[string]int64           // by the way out, after one record more
	}{
		{
			"changelog deleted", durable, func(h *harness, _ *runtime.Config) { h.remove(byWordChangelog) }, durable,
			map[string]map[string]int64{without: keyCounts(1), fromTheBeginning: keyCounts(3)},
		},
		{
			"changelog recreated", durable, func(h *harness, _ *runtime.Config) {
				h.remove(byWordChangelog)
				h.create(4, byWordChangelog)
			}, durable,
			map[string]map[string]int64{without: keyCounts(1)},
		},
		{
			"changelog and progress topic deleted", durable, func(h *harness, _ *runtime.Config) {
				h.remove(byWordChangelog, "wordcount-progress")
			}, durable,
			map[string]map[string]int64{without: keyCounts(1)},
		},
		{
			"changelog cut, without a copy", durable, func(h *harness, cfg *runtime.Config) {
				h.cut(byWordChangelog, h.ends(byWordChangelog))
				cfg.State.FS = vfs.NewMem()
			}, durable,
			map[string]map[string]int64{whatIsLeft: keyCounts(1), fromTheBeginning: keyCounts(3)},
		},
		{
			"changelog cut above the position", durable, func(h *harness, cfg *runtime.Config) {
				other := *cfg
				other.State.FS = vfs.NewMem()
				h.count(durable(h.t), other)
				before := h.ends(byWordChangelog)
				for p := range before {
					before[p]-- // what lies there is the end of a transaction
				}
				h.cut(byWordChangelog, before)
			}, durable,
			map[string]map[string]int64{whatIsLeft: keyCounts(1)},
		},
		{
			"volatile to durable", volatile, nil, durable,
			map[string]map[string]int64{empty: keyCounts(1), fromTheBeginning: keyCounts(3)},
		},
		{
			"volatile to durable, without the progress topic", volatile, func(h *harness, _ *runtime.Config) {
				h.remove("wordcount-progress")
			}, durable,
			map[string]map[string]int64{empty: keyCounts(1)},
		},
		{
			"durable to volatile and back", durable, func(h *harness, cfg *runtime.Config) {
				require.Equal(h.t, keyCounts(3), h.count(volatile(h.t), *cfg))
			}, durable,
			map[string]map[string]int64{empty: keyCounts(1)},
		},
		{
			"another kind", func(t *testing.T) *topology.Topology { return windowCounts(t, byWord.Name()) }, nil, durable,
			map[string]map[string]int64{empty: keyCounts(1), fromTheBeginning: keyCounts(3)},
		},
		{
			"another kind, without the progress topic",
			func(t *testing.T) *topology.Topology { return windowCounts(t, byWord.Name()) },
			func(h *harness, _ *runtime.Config) { h.remove("wordcount-progress") }, durable,
			map[string]map[string]int64{empty: keyCounts(1)},
		},
		{
			"values in another format", lastTexts, nil, durable,
			map[string]map[string]int64{empty: keyCounts(1), fromTheBeginning: keyCounts(3)},
		},
		{
			"values in another format, without the progress topic", lastTexts,
			func(h *harness, _ *runtime.Config) { h.remove("wordcount-progress") }, durable,
			map[string]map[string]int64{empty: keyCounts(1)},
		},
	} {
		for way, rows := range c.rows {
			t.Run(c.name+" "+way, func(t *testing.T) {
				h := newHarness(t)
				cfg := h.config()
				for range 2 {
					app := h.start(c.before(t), cfg).settled()
					h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("v")})
					app.caughtUp().stop()
				}
				if c.breaks != nil {
					c.breaks(h, &cfg)
				}
				h.start(c.after(t), cfg).fails() // and again: nothing has changed
				h.follow(cfg, h.start(c.after(t), cfg).fails(), way)
				require.Equal(t, rows, h.count(c.after(t), cfg))
				cfg.State.FS = vfs.NewMem() // another machine has no part in it
				rows["k"]++
				require.Equal(t, rows, h.count(c.after(t), cfg))
			})
		}
	}
}

// What goes through the repartition topic is counted from the first record on.
func TestADeletedRepartitionTopicHasAWayOut(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 50)
	h.remove("wordcount-words-repartition")
	h.follow(cfg, h.start(words(t, byWord), cfg).fails(), without)
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(100)
	require.Equal(t, h.want, app.caughtUp().rows())
	app.stop()
}

// windowCounts puts into a window store.
func windowCounts(t *testing.T, store string) *topology.Topology {
	t.Helper()
	name := state.NewWindowed[string, int64](store)
	b := topology.NewBuilder()
	b.Source("in", lineTopic).
		Process("count", func() *windowCounter { return &windowCounter{name: name} }, name).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// The ways out that lie in the program.
func TestRefusedProgramsRunAsBefore(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	volatile := countInto(t, "lines", "", byWord.Volatile())
	require.Equal(t, keyCounts(1), h.count(volatile, cfg))
	err := h.start(countInto(t, "lines", "", byWord), cfg).fails()
	require.ErrorContains(t, err, "declare it Volatile as before")
	require.NotContains(t, h.topics(), byWordChangelog, "nothing was changed")
	require.Equal(t, keyCounts(2), h.count(volatile, cfg))

	cfg = h.named("kinds")
	require.Equal(t, keyCounts(3), h.count(countInto(t, "lines", "", byWord), cfg))
	err = h.start(windowCounts(t, byWord.Name()), cfg).fails()
	require.ErrorContains(t, err, "give the store another name")
	h.start(windowCounts(t, "another-name"), cfg).caughtUp().stop()
}

// A store that is volatile all the time has no topics: its copies alone are of another kind.
func TestAVolatileStoreOfAnotherKind(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	require.Equal(t, keyCounts(1), h.count(countInto(t, "lines", "", byWord.Volatile()), cfg))
	name := state.NewWindowed[string, int64](byWord.Name()).Volatile()
	b := topology.NewBuilder()
	b.Source("in", lineTopic).
		Process("count", func() *windowCounter { return &windowCounter{name: name} }, name)
	topo, err := b.Build()
	require.NoError(t, err)
	h.follow(cfg, h.start(topo, cfg).fails(), empty)
	h.start(topo, cfg).caughtUp().stop()
}

// The rules of the optimizer decide what fills a table.
func TestRefusedRulesOfTheOptimizer(t *testing.T) {
	const before, beforeWithoutACopy = "before", "before, without a copy"
	for _, way := range []string{empty, refill, fromTheBeginning, before, beforeWithoutACopy} {
		t.Run(way, func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "users")
			h.create(1, "clicks")
			cfg := h.config()
			h.user("v0")
			app := h.start(clicked(t, stream.ReuseTopics), cfg).caughtUp()
			require.Equal(t, "a/v0", h.click(app, "a"))
			app.stop()
			if way == beforeWithoutACopy {
				cfg.State.FS = vfs.NewMem()
			}
			err := h.start(clicked(t), cfg).fails()
			require.ErrorContains(t, err, "store user-rows of application wordcount was filled from the topic")
			require.ErrorContains(t, err, "ReuseTopics")
			want, now := "b/nobody", clicked(t)
			switch way {
			case before, beforeWithoutACopy:
				want, now = "b/v0", clicked(t, stream.ReuseTopics)
			case refill, fromTheBeginning:
				want = "b/v0"
				fallthrough
			default:
				h.follow(cfg, err, way)
			}
			app = h.start(now, cfg).caughtUp()
			require.Equal(t, want, h.click(app, "b"))
			app.stop()
		})
	}
}

// A table whose rows come from its input needs a topic that keeps them: the application makes it so, and warns of one
// that others have made.
func TestInputsOfReusedTablesAreCompacted(t *testing.T) {
	for _, policy := range []string{"", "compact", "delete", "compact,delete"} {
		t.Run(policy, func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "clicks")
			if policy != "" {
				config := map[string]*string{"cleanup.policy": &policy}
				_, err := h.admin.CreateTopic(h.ctx, 1, 1, config, "users")
				require.NoError(t, err)
			}
			cfg := h.config()
			log := loggedTo(&cfg)
			h.start(clicked(t, stream.ReuseTopics), cfg).settled().stop()
			configs, err := h.admin.DescribeTopicConfigs(h.ctx, "users")
			require.NoError(t, err)
			config, err := configs.On("users", nil)
			require.NoError(t, err)
			for _, c := range config.Configs {
				if c.Key == "cleanup.policy" {
					require.Equal(t, cmp.Or(policy, "compact"), c.MaybeValue())
				}
			}
			warning := "topic=users cleanup.policy=" + policy
			if policy == "" || policy == "compact" {
				require.NotContains(t, log.String(), "topic=users cleanup.policy")
				return
			}
			require.Contains(t, log.String(), warning)
			require.Contains(t, log.String(), "--entity-name users --add-config cleanup.policy=compact")
		})
	}
}

func TestTheTopicOfAnotherApplicationHasWaysOut(t *testing.T) {
	h := newHarness(t)
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("anna"), Value: []byte("v")})
	h.start(countInto(t, "lines", "", state.NewKV[string, int64]("b-c")), h.named("a")).caughtUp().stop()
	two := h.named("a-b")
	clash := countInto(t, "lines", "", state.NewKV[string, int64]("c"))
	err := h.start(clash, two).fails()
	require.ErrorContains(t, err, "choose another Config.ApplicationID")
	h.start(clash, h.named("x")).caughtUp().stop()
	require.ErrorContains(t, err, "rename the store")
	h.start(countInto(t, "lines", "", state.NewKV[string, int64]("d")), two).caughtUp().stop()
	h.follow(two, err, "if a is not used any more: ")
	h.start(clash, two).caughtUp().stop()
}

// A directory that was made by another application is not used.
func TestTheDirectoryOfAnotherApplicationHasAWayOut(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 10)
	require.NoError(t, cfg.State.FS.Rename("state/wordcount", "state/renamed"))
	cfg.ApplicationID = "renamed"
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, "belongs to application wordcount")
	require.ErrorContains(t, err, "application renamed")
	require.ErrorContains(t, err, "remove state/renamed, and start again")
	require.NoError(t, cfg.State.FS.RemoveAll("state/renamed"))
	h.start(words(t, byWord), cfg).caughtUp().stop()
}

func TestLostOffsetsCanBeCommittedAgain(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	topo := countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(topo, cfg))
	_, err := h.admin.DeleteGroup(h.ctx, cfg.ApplicationID)
	require.NoError(t, err)
	require.ErrorContains(t, h.start(topo, cfg).fails(), "commit an offset for each of them")
	offsets := kadm.Offsets{}
	for p, end := range h.ends("lines") {
		offsets.AddOffset("lines", p, end, -1)
	}
	require.NoError(t, h.admin.CommitAllOffsets(h.ctx, cfg.ApplicationID, offsets))
	require.Equal(t, keyCounts(2), h.count(topo, cfg))
}

// A broker that has lost what it had acknowledged leaves copies that are ahead of their changelogs.
func TestAChangelogThatEndsBelowThePositionHasWaysOut(t *testing.T) {
	for _, way := range []string{whatIsLeft, fromTheBeginning} {
		h, cfg := rewound(t, runtime.ExactlyOnce)
		err := h.start(words(t, byWord), cfg).fails()
		require.ErrorContains(t, err, "the broker has lost what it had acknowledged")
		require.ErrorContains(t, err, byWordChangelog)
		h.follow(cfg, err, way)
		h.start(words(t, byWord), cfg).caughtUp().stop()
	}
}

// A changelog with a part that can't be read restores no store. The policy may pass over that part, and what the error
// says leads to an application that runs without it.
func TestADamagedChangelogHasWaysOut(t *testing.T) {
	const skip = "let Errors.Decode be Skip"
	topo := countInto(t, "lines", "", byWord)
	for way, rows := range map[string]int64{empty: 1, fromTheBeginning: 3, skip: 3} {
		for _, requests := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s requests=%v", way, requests), func(t *testing.T) {
				fs := vfs.NewMem()
				h := newHarness(t, brokertest.On(fs))
				cfg := h.config()
				cfg.NoLocal = requests
				for n := range int64(2) {
					require.Equal(t, keyCounts(n+1), h.count(topo, cfg))
				}
				part := int32(-1) // the one with the rows
				for p, end := range h.ends(byWordChangelog) {
					if end > 0 {
						part = p
					}
				}
				h.reopen(fs, func() { // the value of the first record
					brokertest.Flip(t, fs, fmt.Sprintf("broker/%s-%d/00000000000000000000.log", byWordChangelog, part), 70)
				})
				cfg.Broker, cfg.State.FS = h.broker, vfs.NewMem()
				h.start(topo, cfg).fails() // and again: nothing has changed
				err := h.start(topo, cfg).fails()
				require.ErrorContains(t, err, fmt.Sprintf("store by-word from topic %s partition %d", byWordChangelog, part))
				require.ErrorContains(t, err, "to go on at offset 1 "+skip)
				require.ErrorContains(t, err, "a row of store by-word whose newest record lay there is missing then")
				require.Equal(t, 1, strings.Count(err.Error(), empty))
				if way == skip {
					cfg.Errors.Decode = topology.Skip
				} else {
					h.follow(cfg, err, way)
				}
				require.Equal(t, keyCounts(rows), h.count(topo, cfg))
				require.Equal(t, keyCounts(rows+1), h.count(topo, elsewhere(cfg)))
			})
		}
	}
}
