package runtime_test

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/progress"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

const expiring = "compact,delete"

// reused is a table that is restored from its input, the topic users.
func reused(t *testing.T) *topology.Topology { return clicked(t, stream.ReuseTopics) }

// filling is a harness with the topic users, of some policy, in which there are ten users.
func filling(t *testing.T, guarantee runtime.Guarantee, policy string) (*harness, runtime.Config) {
	h := newHarness(t)
	h.users(policy)
	h.create(1, "clicks")
	cfg := h.config()
	cfg.Guarantee = guarantee
	return h, cfg
}

func (h *harness) users(policy string) {
	h.t.Helper()
	config := map[string]*string{"cleanup.policy": &policy}
	_, err := h.admin.CreateTopic(h.ctx, 1, 1, config, "users")
	require.NoError(h.t, err)
	h.user("v0")
}

// table starts an application of reused users, and returns its rows when it has processed everything.
func (h *harness) table(cfg runtime.Config) map[string]string {
	h.t.Helper()
	app := h.start(reused(h.t), cfg).caughtUp()
	require.NoError(h.t, app.Checkpoint(h.ctx))
	rows := app.users()
	app.stop()
	return rows
}

func (r *running) users() map[string]string {
	r.h.t.Helper()
	view, err := r.View(userRows)
	require.NoError(r.h.t, err)
	defer view.Close()
	rows := map[string]string{}
	for e, err := range userRows.Read(view.Reader).All() {
		require.NoError(r.h.t, err)
		rows[e.Key] = e.Value
	}
	return rows
}

// usersFrom are the rows of the users from a number on.
func usersFrom(first int, name string) map[string]string {
	rows := map[string]string{}
	for i := first; i < 10; i++ {
		rows[fmt.Sprint("u", i)] = name
	}
	return rows
}

// elsewhere is the configuration of another machine, which has nothing.
func elsewhere(cfg runtime.Config) runtime.Config {
	cfg.State.FS = vfs.NewMem()
	return cfg
}

func underBoth(t *testing.T, test func(t *testing.T, guarantee runtime.Guarantee)) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) { test(t, guarantee) })
	}
}

// An input that is compacted only may not lose what a table is restored from. What the refusal says leads to an
// application that runs, and what was accepted is remembered.
func TestATableWhoseInputWasCutIsRefused(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		for _, way := range []string{whatIsLeft, fromTheBeginning} {
			h, cfg := filling(t, guarantee, "compact")
			require.Equal(t, usersFrom(0, "v0"), h.table(cfg))
			h.cut("users", map[int32]int64{0: 5})
			log := loggedTo(&cfg)
			require.Equal(t, usersFrom(0, "v0"), h.table(cfg), "the copy is complete")
			require.Contains(t, log.String(), "the input of store user-rows was cut: topic users partition 0 begins at 5, and "+
				"the store was filled from offset 0 on. The local copy is complete")

			lost := elsewhere(cfg)
			h.start(reused(t), lost).fails() // and again: nothing has changed
			err := h.start(reused(t), lost).fails()
			require.ErrorContains(t, err, "store user-rows has no local copy here, and its input, topic users partition 0, was "+
				"cut: it begins at 5, and the store was filled from offset 0 on, so rows are missing")
			h.follow(lost, err, way)
			require.Equal(t, usersFrom(5, "v0"), h.table(lost))
			require.Equal(t, usersFrom(5, "v0"), h.table(elsewhere(cfg)))
		}
	})
}

func TestATableWhoseInputWasCutAboveItsCopyIsRefused(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, "compact")
		h.table(cfg)
		newer := elsewhere(cfg)
		h.user("v1")
		require.Equal(t, usersFrom(0, "v1"), h.table(newer))
		h.cut("users", map[int32]int64{0: 15})
		err := h.start(reused(t), cfg).fails()
		require.ErrorContains(t, err, "is at offset 10 of topic users partition 0, which was cut and begins at 15, and the "+
			"store was filled from offset 0 on")
		h.follow(cfg, err, whatIsLeft)
		require.Equal(t, usersFrom(5, "v1"), h.table(cfg))
		require.Equal(t, usersFrom(0, "v1"), h.table(newer), "a complete copy stays")
	})
}

// Where the owner of the input lets records expire, a table is restored without them, and one line says so.
func TestATableWhoseInputExpiresIsRestored(t *testing.T) {
	const gone = "Store user-rows was filled from offset 0 of topic users partition 0 on, which begins at 5 now: 5 " +
		"offsets are gone (cleanup.policy=compact,delete)"
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, expiring)
		log := loggedTo(&cfg)
		h.table(cfg)
		newer := elsewhere(cfg)
		h.user("v1")
		h.table(newer)
		h.deleteBefore("users", map[int32]int64{0: 5})
		require.Equal(t, usersFrom(0, "v1"), h.table(cfg), "the copy is complete")
		require.NotContains(t, log.String(), "offsets are gone")

		lost := elsewhere(cfg)
		for range 2 {
			require.Equal(t, usersFrom(0, "v1"), h.table(lost))
			lost = elsewhere(cfg)
		}
		require.Equal(t, 1, strings.Count(log.String(), gone), log)
		require.Regexp(t, "WARN.*are gone", log.String())

		h.user("v2")
		h.table(newer)
		h.deleteBefore("users", map[int32]int64{0: 25})
		log = loggedTo(&cfg) // which has a copy up to 20
		require.Equal(t, usersFrom(5, "v2"), h.table(cfg))
		require.Contains(t, log.String(), "is at offset 20, and topic users holds 25 to 30. Store user-rows was filled from "+
			"offset 5 of topic users partition 0 on, which begins at 25 now: 20 offsets are gone")
		require.Equal(t, usersFrom(5, "v2"), h.table(elsewhere(cfg)))
		require.Equal(t, 1, strings.Count(log.String(), "are gone"), log)
	})
}

// An owner who takes delete away, as the log advises, does not stop the application. What is cut later is seen, whether
// the application was started meanwhile or not.
func TestAnInputThatIsCompactedOnlyAfterRecordsHaveExpired(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		for _, started := range []bool{false, true} {
			h, cfg := filling(t, guarantee, expiring)
			h.table(cfg)
			h.deleteBefore("users", map[int32]int64{0: 5})
			h.alter("users", "cleanup.policy", "compact")
			if started {
				h.table(cfg)
			}
			lost := elsewhere(cfg)
			log := loggedTo(&lost)
			require.Equal(t, usersFrom(5, "v0"), h.table(lost))
			require.Contains(t, log.String(), "5 offsets are gone (its cleanup.policy had delete before)")
			h.cut("users", map[int32]int64{0: 6})
			require.ErrorContains(t, h.start(reused(t), elsewhere(cfg)).fails(), "begins at 6, and the store was filled from "+
				"offset 5 on")
		}
	})
}

func TestAnInputThatIsCutAfterItIsCompactedOnly(t *testing.T) {
	h, cfg := filling(t, runtime.ExactlyOnce, expiring)
	h.table(cfg)
	h.deleteBefore("users", map[int32]int64{0: 5})
	h.alter("users", "cleanup.policy", "compact")
	h.table(cfg)
	h.cut("users", map[int32]int64{0: 6})
	require.ErrorContains(t, h.start(reused(t), elsewhere(cfg)).fails(), "begins at 6, and the store was filled from "+
		"offset 0 on")
}

func TestAnInputThatExpiresAfterItWasCompactedOnly(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, "compact")
		h.table(cfg)
		h.alter("users", "cleanup.policy", expiring)
		h.deleteBefore("users", map[int32]int64{0: 5})
		cfg = elsewhere(cfg)
		log := loggedTo(&cfg)
		require.Equal(t, usersFrom(5, "v0"), h.table(cfg))
		require.Contains(t, log.String(), "5 offsets are gone (cleanup.policy=compact,delete)")
	})
}

// What was noted of a topic says nothing about another one of that name, and an older build has noted nothing.
func TestInputsOfTablesThatAreAdopted(t *testing.T) {
	for name, change := range map[string]func(h *harness){
		"recreated": func(h *harness) {
			h.remove("users")
			h.users("compact")
		},
		"of an older build": func(h *harness) {
			key := progress.Key{Kind: progress.Filled, Name: "user-rows", Partition: 0}
			h.produce(&kgo.Record{Topic: "wordcount-progress", Key: progress.AppendKey(nil, key)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
				h, cfg := filling(t, guarantee, "compact")
				h.table(cfg)
				change(h)
				h.cut("users", map[int32]int64{0: 5})
				for range 2 {
					cfg = elsewhere(cfg)
					log := loggedTo(&cfg)
					require.Equal(t, usersFrom(5, "v0"), h.table(cfg))
					require.NotContains(t, log.String(), "offsets are gone")
				}
				h.cut("users", map[int32]int64{0: 6})
				require.ErrorContains(t, h.start(reused(t), elsewhere(cfg)).fails(), "begins at 6, and the store was filled from "+
					"offset 5 on")
			})
		})
	}
}

// Where nothing was committed nothing is lost.
func TestATableWhoseInputWasCutBeforeTheFirstCommit(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, "compact")
		h.table(cfg)
		_, err := h.admin.DeleteGroup(h.ctx, cfg.ApplicationID)
		require.NoError(t, err)
		h.cut("users", map[int32]int64{0: 5})
		cfg = elsewhere(cfg)
		log := loggedTo(&cfg)
		require.Equal(t, usersFrom(5, "v0"), h.table(cfg))
		require.Equal(t, usersFrom(5, "v0"), h.table(elsewhere(cfg)))
		require.Equal(t, 1, strings.Count(log.String(), "5 offsets are gone. "), log)
	})
}

// A process that takes a task over compares the input with what other processes have noted since it started.
func TestATableMovesWhileItsInputIsCut(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, "compact")
		app := h.start(reused(t), cfg).caughtUp()
		idle := h.start(reused(t), elsewhere(cfg)).settled()
		h.cut("users", map[int32]int64{0: 5})
		app.stop()
		require.ErrorContains(t, idle.fails(), "topic users partition 0, was cut: it begins at 5, and the store was filled "+
			"from offset 0 on")
		require.Equal(t, usersFrom(0, "v0"), h.table(cfg), "it can move back")
	})
}

func TestATableMovesWhileItsInputExpires(t *testing.T) {
	underBoth(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h, cfg := filling(t, guarantee, expiring)
		log := &lastLog{}
		cfg.Logger = logged(log)
		app := h.start(reused(t), cfg).caughtUp()
		one, two := h.start(reused(t), elsewhere(cfg)).settled(), h.start(reused(t), elsewhere(cfg)).settled()
		h.deleteBefore("users", map[int32]int64{0: 5})
		app.stop()
		require.Eventually(t, func() bool { return one.runs() || two.runs() }, patience, poll)
		if two.runs() {
			one, two = two, one
		}
		require.Equal(t, usersFrom(5, "v0"), one.users())
		one.stop() // the other one started before this one noted what is gone
		require.Eventually(t, two.runs, patience, poll)
		require.Equal(t, usersFrom(5, "v0"), two.users())
		two.stop()
		require.Equal(t, 1, strings.Count(string(log.buf), "5 offsets are gone"), string(log.buf))
	})
}

// runs tells that the application has a task that runs.
func (r *running) runs() bool {
	for _, w := range r.Stats().Workers {
		for _, task := range w.Tasks {
			if task.State == "running" {
				return true
			}
		}
	}
	return false
}

// An input that is cut while a table is restored from it is judged as at the start.
func TestAnInputThatIsCutWhileATableIsRestored(t *testing.T) {
	for _, policy := range []string{"compact", expiring} {
		t.Run(policy, func(t *testing.T) {
			h, cfg := filling(t, runtime.ExactlyOnce, policy)
			h.table(cfg)
			h.undecided("users") // no reader comes to its end, which is committed
			offsets := kadm.Offsets{}
			offsets.AddOffset("users", 0, 11, -1)
			require.NoError(t, h.admin.CommitAllOffsets(h.ctx, cfg.ApplicationID, offsets))

			cfg = elsewhere(cfg)
			log := loggedTo(&cfg)
			var away sync.RWMutex
			cfg.NoLocal = true
			cfg.ClientOptions = h.over(func(c net.Conn) net.Conn { return &held{Conn: c, away: &away} })
			started := make(chan runtime.Restore, 10)
			cfg.Hooks.RestoreStarted = func(r runtime.Restore) { started <- r }
			app := h.start(reused(t), cfg)
			<-started
			away.Lock() // it sees the topic when all of this is done
			if policy == expiring {
				h.deleteBefore("users", map[int32]int64{0: 11})
			} else {
				h.cut("users", map[int32]int64{0: 11})
			}
			away.Unlock()
			if policy != expiring {
				require.ErrorContains(t, app.fails(), "of topic users partition 0, which was cut and begins at 11, and the store "+
					"was filled from offset 0 on")
				return
			}
			app.settled()
			require.Empty(t, app.users())
			app.stop()
			require.Contains(t, log.String(), "topic users partition 0 was cut while store user-rows was restored from it")
			require.Equal(t, 1, strings.Count(log.String(), "11 offsets are gone"), log)
			require.EqualValues(t, 11, h.notedOf("user-rows").Offset)
		})
	}
}

// notedOf is what is noted of partition 0 of a store that an input fills.
func (h *harness) notedOf(store string) progress.Value {
	h.t.Helper()
	known, _ := h.noted("wordcount")
	note, ok := known[progress.Key{Kind: progress.Filled, Name: store, Partition: 0}]
	require.True(h.t, ok)
	return note
}

// What fills a table is noted once.
func TestTheProgressTopicNotesWhereInputsOfTablesBegin(t *testing.T) {
	h, cfg := filling(t, runtime.ExactlyOnce, expiring)
	h.deleteBefore("users", map[int32]int64{0: 2})
	h.table(cfg)
	known, records := h.noted("wordcount")
	ids, err := h.admin.ListTopics(h.ctx)
	require.NoError(t, err)
	require.Equal(t, progress.Value{
		Topic: "users", TopicID: ids["users"].ID, Cluster: h.broker.ClusterID(), Offset: 2, Expired: progress.Endless,
	}, h.notedOf("user-rows"))
	h.table(cfg)
	h.table(elsewhere(cfg))
	again, after := h.noted("wordcount")
	require.Equal(t, records, after)
	require.True(t, maps.Equal(known, again))

	h.alter("users", "cleanup.policy", "compact")
	h.table(cfg)
	require.EqualValues(t, 2, h.notedOf("user-rows").Expired)
}

// A table whose input has fewer partitions than what it is merged with is empty in the others, with and without a copy,
// and where it had a changelog before.
func TestATableWhoseInputHasFewerPartitions(t *testing.T) {
	h := newHarness(t)
	h.users("compact")
	h.create(2, "clicks")
	build := func(rules ...stream.Rule) *topology.Topology {
		b := stream.NewBuilder()
		if len(rules) > 0 {
			b.OptimizeWith(rules...)
		}
		b.Table(users, userRows).ToStream().Merge(b.Stream(clicks)).To(stream.NewTopic[string, string]("counts"))
		topo, err := b.Build()
		require.NoError(t, err)
		return topo
	}
	cfg := h.config()
	h.start(build(), cfg).caughtUp().stop()
	for _, cfg := range []runtime.Config{cfg, cfg, elsewhere(cfg)} {
		app := h.start(build(stream.ReuseTopics), cfg).caughtUp()
		require.NoError(t, app.Checkpoint(h.ctx))
		require.Equal(t, usersFrom(0, "v0"), app.users())
		app.stop()
	}
}
