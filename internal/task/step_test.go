package task_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/topology"
)

// record makes a processor that notes the timestamps it sees.
func noting(seen *[]int64) processor {
	return processor{process: func(_ *topology.Context[string, string], r text) error {
		*seen = append(*seen, r.Timestamp)
		return nil
	}}
}

func (r *rig) step(n int) {
	done, err := r.task.Step(n, 0)
	require.NoError(r.t, err)
	require.Equal(r.t, n, done)
}

func TestT27HeadTimestampDecides(t *testing.T) {
	var seen []int64
	both := process("p", noting(&seen))
	a, b := source("a", "p1"), source("b", "p2")
	a.Connect(both)
	b.Connect(both)
	r := newRig(t, task.Config{}, []*topology.Node{a, b, both})

	r.add("p1", 0, at(1), at(5), at(3))
	r.step(2)
	require.Equal(t, []int64{1, 5}, seen)
	r.add("p2", 0, at(2), at(4), at(6))
	r.step(1)
	require.Equal(t, []int64{1, 5, 2}, seen, "the head's 2 is before 3")
	r.step(1)
	require.Equal(t, []int64{1, 5, 2, 3}, seen, "not the highest timestamp of the partition, 5")
	var s task.Stats
	r.task.Stats(&s)
	require.EqualValues(t, 5, s.StreamTime)
	r.step(2)
	require.Equal(t, []int64{1, 5, 2, 3, 4, 6}, seen)
	require.Equal(t, 0, r.task.Queues.Records())
}

func TestEqualTimestampsGoInInputOrder(t *testing.T) {
	var seen []string
	both := process("p", processor{process: func(c *topology.Context[string, string], r text) error {
		m, _ := c.Metadata()
		seen = append(seen, fmt.Sprintf("%s/%d", m.Topic, m.Offset))
		return nil
	}})
	a, b := source("a", "p1"), source("b", "p2")
	a.Connect(both)
	b.Connect(both)
	r := newRig(t, task.Config{}, []*topology.Node{a, b, both})
	r.add("p2", 10, at(1), at(2), at(2))
	r.add("p1", 20, at(2), at(2), at(3))
	r.step(6)
	require.Equal(t, []string{"p2/10", "p1/20", "p1/21", "p2/11", "p2/12", "p1/22"}, seen)
}

func TestKnownDataIsWaitedFor(t *testing.T) {
	build := func(idle time.Duration) (*rig, *[]int64) {
		seen := &[]int64{}
		both := process("p", noting(seen))
		a, b := source("a", "p1"), source("b", "p2")
		a.Connect(both)
		b.Connect(both)
		return newRig(t, task.Config{MaxIdle: idle}, []*topology.Node{a, b, both}), seen
	}
	r, seen := build(0)
	r.add("p1", 0, at(5))
	require.NoError(t, r.task.Queues.Reached("p2", 0, 0, 3))
	r.step(0)
	n, err := r.task.Step(10, 0)
	require.NoError(t, err)
	require.Zero(t, n, "p2 has records that are not here yet")
	r.add("p2", 0, at(1))
	r.step(1)
	n, err = r.task.Step(10, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, r.task.Queues.Reached("p2", 0, 3, 3)) // what is left there, readers do not see
	r.step(1)
	require.Equal(t, []int64{1, 5}, *seen)
	require.Equal(t, []int64{1, 3}, nexts(r.task.Offsets()), "offsets pass over what readers do not see")

	r, _ = build(-1)
	r.add("p1", 0, at(5))
	require.NoError(t, r.task.Queues.Reached("p2", 0, 0, 3))
	r.step(1)

	r, _ = build(10 * time.Millisecond)
	r.add("p1", 0, at(5), at(6))
	for _, c := range []struct {
		wall int64
		want int
	}{{100, 0}, {109, 0}, {110, 1}, {111, 1}} {
		require.NoError(t, r.task.Queues.AtEnd("p2", 0, c.wall, c.wall))
		n, err := r.task.Step(1, c.wall)
		require.NoError(t, err)
		require.Equal(t, c.want, n, "clock %d", c.wall)
	}
}

func nexts(offsets []task.Offset) (next []int64) {
	for _, o := range offsets {
		next = append(next, o.Next)
	}
	return next
}

func TestNegativeTimestampsAreDropped(t *testing.T) {
	var seen []int64
	r := newRig(t, task.Config{}, chain(source("s", "in"), process("p", noting(&seen))))
	r.add("in", 0, at(3), at(-1), at(4), at(-1))
	r.step(2)
	n, err := r.task.Step(1, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, []int64{3, 4}, seen)
	require.Equal(t, []int64{4}, nexts(r.task.Offsets()), "dropped records advance the offset")
	var s task.Stats
	r.task.Stats(&s)
	require.EqualValues(t, 2, s.Nodes[0].Dropped[topology.BadTime])
}

func TestTimestampsOfTheSource(t *testing.T) {
	var seen []int64
	var partitionTimes []int64
	src := topology.NewSource("s", "site", topology.SourceConfig[string, string]{
		Topics: []topology.TopicName{{Name: "in"}}, Keys: serde.For[string](), Values: serde.For[string](),
		Timestamps: func(r text, partitionTime int64) int64 {
			partitionTimes = append(partitionTimes, partitionTime)
			return r.Timestamp * 10
		},
	})
	var own []int64
	r := newRig(t, task.Config{}, chain(src, process("p", noting(&seen))),
		chain(source("s2", "in"), process("q", noting(&own))))
	r.add("in", 0, at(3), at(2), at(7))
	r.step(3)
	require.Equal(t, []int64{30, 20, 70}, seen)
	require.Equal(t, []int64{3, 2, 7}, own, "each source has its own idea of time")
	require.Equal(t, []int64{-1, 3, 3}, partitionTimes)
}

func TestControlBatchesAndRecordsBelowThePosition(t *testing.T) {
	var seen []int64
	r := newRig(t, task.Config{Start: []task.Offset{{Topic: "in", Next: 2}}},
		chain(source("s", "in"), process("p", noting(&seen))))
	r.add("in", 0, at(1), at(2), at(3), at(4))
	raw := batch.AppendControl(nil, batch.Control{Type: batch.Commit})
	batch.SetBaseOffset(raw, 4, 0)
	marker, _, err := batch.Parse(raw)
	require.NoError(t, err)
	require.NoError(t, r.task.Add("in", 0, marker))
	r.step(1)
	require.Equal(t, []int64{3}, nexts(r.task.Offsets()))
	r.step(1)
	require.Equal(t, []int64{3, 4}, seen)
	require.Equal(t, []int64{5}, nexts(r.task.Offsets()), "the marker is behind it")
	r.commit()
	require.Empty(t, r.task.Offsets())
	require.Error(t, r.task.Add("other", 0, marker))
}

func TestT26StreamTimePunctuation(t *testing.T) {
	var fired []int64
	p := process("p", processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(10*time.Millisecond, topology.StreamTime, func(now int64) error {
			_, inRecord := c.Metadata()
			require.False(t, inRecord)
			fired = append(fired, now)
			return nil
		})
		return err
	}})
	r := newRig(t, task.Config{}, chain(source("s", "in"), p))
	r.add("in", 0, at(20), at(25), at(142), at(145), at(155), at(159), at(160), at(161))
	r.step(8)
	require.Equal(t, []int64{20, 142, 155, 160}, fired)
}

func TestT26WallClockPunctuation(t *testing.T) {
	const start = 1000
	var fired []int64
	p := process("p", processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
			_, inRecord := c.Metadata()
			require.False(t, inRecord)
			fired = append(fired, now-start)
			return nil
		})
		return err
	}})
	r := newRig(t, task.Config{WallMillis: start}, chain(source("s", "in"), p))
	due, ok := r.task.NextWallPunctuation()
	require.True(t, ok)
	require.EqualValues(t, start+10, due)
	r.add("in", 0, at(1), at(2))
	r.step(1)
	now := int64(start)
	for _, by := range []int64{100, 10, 12, 7, 1, 105, 5} {
		now += by
		_, err := r.task.Punctuate(now)
		require.NoError(t, err)
	}
	require.Equal(t, []int64{100, 110, 122, 130, 235, 240}, fired)
}

func TestPunctuationIsCancelledAnchoredAndOrdered(t *testing.T) {
	var fired []string
	note := func(name string) func(int64) error {
		return func(now int64) error { fired = append(fired, fmt.Sprintf("%s@%d", name, now)); return nil }
	}
	p := process("p", processor{init: func(c *topology.Context[string, string]) error {
		var cancel func()
		_, err := c.Schedule(10*time.Millisecond, topology.StreamTime, note("a"))
		require.NoError(t, err)
		cancel, err = c.Schedule(10*time.Millisecond, topology.StreamTime, func(now int64) error {
			cancel()
			return note("once")(now)
		})
		require.NoError(t, err)
		_, err = c.ScheduleAt(time.UnixMilli(25), 100*time.Millisecond, topology.StreamTime, note("anchored"))
		return err
	}})
	r := newRig(t, task.Config{}, chain(source("s", "in"), p))
	r.add("in", 0, at(1), at(11), at(26), at(124), at(125))
	r.step(5)
	require.Equal(t, []string{"a@1", "once@1", "a@11", "anchored@26", "a@26", "a@124", "anchored@125"}[:3], fired[:3])
	require.ElementsMatch(t, []string{"a@1", "once@1", "a@11", "anchored@26", "a@26", "a@124", "anchored@125"}, fired)
}

func TestPunctuationOutlivesDiscard(t *testing.T) {
	var stream, wall []int64
	closed := 0
	p := process("p", processor{
		init: func(c *topology.Context[string, string]) error {
			_, err := c.Schedule(10*time.Millisecond, topology.StreamTime, func(now int64) error {
				stream = append(stream, now)
				return nil
			})
			require.NoError(t, err)
			_, err = c.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
				wall = append(wall, now)
				return nil
			})
			return err
		},
		closed: func() { closed++ },
	})
	r := newRig(t, task.Config{}, chain(source("s", "in"), p))
	closed = 0 // a first one was tried when the topology was built
	b := r.add("in", 0, at(5), at(12), at(14), at(21))
	r.step(3)
	_, err := r.task.Punctuate(10)
	require.NoError(t, err)
	r.commit()
	r.step(1)
	_, err = r.task.Punctuate(25)
	require.NoError(t, err)
	require.Equal(t, []int64{5, 12, 21}, stream)
	require.Equal(t, []int64{10, 25}, wall)

	require.NoError(t, r.task.Discard())
	require.Equal(t, 1, closed)
	require.Equal(t, []task.Input{{Topic: "in", Next: 3}}, r.task.Queues.Inputs())
	require.NoError(t, r.task.Add("in", 0, b))
	r.step(1)
	require.Equal(t, []int64{5, 12, 21, 21}, stream, "what the transaction fired fires again, what was committed does not")
	_, err = r.task.Punctuate(26)
	require.NoError(t, err)
	require.Equal(t, []int64{10, 25, 26}, wall)
}

func TestStates(t *testing.T) {
	r := newRig(t, task.Config{}, chain(source("s", "in"), sink("o", "out")))
	require.Error(t, r.task.Restored(nil))
	_, err := r.task.NewFollower(nil)
	require.Error(t, err)
	r.add("in", 0, at(1))
	r.step(1)
	require.ErrorContains(t, r.task.Suspend(), "commit or discard first")
	r.commit()
	require.NoError(t, r.task.Suspend())
	_, err = r.task.Step(1, 0)
	require.ErrorContains(t, err, "not while suspended")
	require.NoError(t, r.task.Resume(0))
	r.add("in", 1, at(2))
	r.step(1)
	r.commit()
	require.Equal(t, []string{"v", "v"}, r.written("out"))
	require.NoError(t, r.task.Close())
	require.NoError(t, r.task.Close())
	require.Error(t, r.task.Resume(0))
}

// The driver of a task may end a step at any time: the record at hand is the last one, of one input or of several.
func TestACutEndsTheStepAfterTheRecordAtHand(t *testing.T) {
	var cut atomic.Bool
	var seen []int64
	both := process("p", processor{process: func(_ *topology.Context[string, string], r text) error {
		seen = append(seen, r.Timestamp)
		cut.Store(r.Timestamp%3 == 0)
		return nil
	}})
	a, b := source("a", "p1"), source("b", "p2")
	a.Connect(both)
	b.Connect(both)
	r := newRig(t, task.Config{Cut: &cut}, []*topology.Node{a, b, both})
	r.add("p1", 0, at(1), at(2), at(3), at(4))
	r.add("p2", 0, at(5), at(6), at(7))
	for _, want := range []int{3, 3, 1} {
		n, err := r.task.Step(100, 0)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7}, seen)
	cut.Store(true)
	r.add("p1", 4, at(8), at(9))
	r.step(1) // one goes on in any case
}

// Another goroutine may ask which node a task is at, and with which record, while it is at work.
func TestWhereATaskIs(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan struct{})
	node := process("p", processor{process: func(c *topology.Context[string, string], r text) error {
		asked <- struct{}{}
		<-answered
		return c.Forward(r)
	}})
	r := newRig(t, task.Config{}, chain(source("s", "in"), node, sink("o", "out")))
	r.add("in", 7, at(1), at(2))
	var where []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			<-asked
			where = append(where, r.task.Where())
			answered <- struct{}{}
		}
	}()
	stop := make(chan struct{})
	go func() { // and may ask in any moment
		for {
			select {
			case <-stop:
				return
			default:
				r.task.Where()
			}
		}
	}()
	r.step(2)
	<-done
	close(stop)
	require.Equal(t, []string{
		"node p (site), topic in partition 0 offset 7", "node p (site), topic in partition 0 offset 8",
	}, where)
}

// A clock that is set back puts nothing off that waits for an interval. What is due at a time of the clock waits for
// that.
func TestTheWallClockIsSetBack(t *testing.T) {
	const start, hour = 10_000_000, 3_600_000
	var ticks, anchored []int64
	p := process("p", processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
			ticks = append(ticks, now)
			return nil
		})
		require.NoError(t, err)
		_, err = c.ScheduleAt(time.UnixMilli(start+15), time.Hour, topology.WallClock, func(now int64) error {
			anchored = append(anchored, now)
			return nil
		})
		return err
	}})
	r := newRig(t, task.Config{WallMillis: start, MaxIdle: 20 * time.Millisecond}, chain(source("s", "a", "b"), p))
	_, err := r.task.Punctuate(start + 10)
	require.NoError(t, err)
	require.NoError(t, r.task.Queues.AtEnd("b", 0, 0, 10))
	r.add("a", 0, at(1))
	n, err := r.task.Step(1, start+12)
	require.NoError(t, err)
	require.Zero(t, n, "it waits for the other input")
	for _, now := range []int64{5, 15, 25, 35} {
		_, err = r.task.Punctuate(start - hour + now)
		require.NoError(t, err)
	}
	require.Equal(t, []int64{start + 10, start - hour + 15, start - hour + 25, start - hour + 35}, ticks)
	require.Empty(t, anchored)
	require.NoError(t, r.task.Queues.AtEnd("b", 0, 30, 30))
	n, err = r.task.Step(1, start-hour+35)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = r.task.Punctuate(start + 15)
	require.NoError(t, err)
	require.Equal(t, []int64{start + 15}, anchored)
}

// A processor may make up times, too: what is no time is dropped, and the task goes on.
func TestForwardDropsWhatIsNoTime(t *testing.T) {
	ahead := []int64{}
	p := process("p", processor{})
	p2 := topology.NewProcessor("later", "site", nil, func() topology.Processor[string, string, string, string] {
		made := processor{}
		made.process = func(c *topology.Context[string, string], r text) error {
			for _, at := range []int64{topology.MaxTime + 1, math.MaxInt64, 7} {
				r.Timestamp = at
				if err := c.Forward(r); err != nil {
					return err
				}
			}
			return nil
		}
		return &made
	})
	r := newRig(t, task.Config{OnAhead: func(_ *topology.Instance, at int64) { ahead = append(ahead, at) }},
		chain(source("s", "in"), p2, p, sink("k", "out")))
	r.add("in", 0, at(5))
	r.step(1)
	r.commit()
	require.Len(t, r.stamped("out"), 1)
	var s task.Stats
	r.task.Stats(&s)
	dropped := int64(0)
	for _, n := range s.Nodes {
		dropped += n.Dropped[topology.BadTime]
	}
	require.EqualValues(t, 2, dropped)
	require.Empty(t, ahead)
	r.add("in", 1, at(topology.MaxTime))
	r.step(1)
	require.Equal(t, []int64{topology.MaxTime}, ahead)
}
