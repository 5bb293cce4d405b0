package runtime_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/runtime"
	"thalweg/stream"
)

// Records that were deleted before they were processed are passed over, all of them and no others: also those that
// share a batch with the first that is left.
func TestRecordsThatWereDeletedAreNotProcessed(t *testing.T) {
	h := newHarness(t)
	h.create(1, "ins")
	h.create(1, "copies")
	app := h.start(copying(t, ins.Reset(stream.Latest())), h.config()).caughtUp()
	h.sent("ins", 0, 0, 10)
	app.caughtUp().stop()
	h.sent("ins", 0, 10, 100)
	h.deleteBefore("ins", map[int32]int64{0: 50})
	app = h.start(copying(t, ins.Reset(stream.Latest())), h.config()).caughtUp()
	require.EqualValues(t, 110, h.offset("ins", 0))
	app.stop()
	require.Equal(t, append(numbers(0, 10), numbers(50, 110)...), h.values("copies"))
}

// An offset behind a partition's end is no place to wait at: the reset policy says where to go on, and what is produced
// next is not lost.
func TestAnOffsetBehindTheEnd(t *testing.T) {
	for _, c := range []struct {
		policy stream.Reset
		want   []string
	}{
		{stream.Earliest(), numbers(0, 50)},
		{stream.Latest(), numbers(20, 50)},
		{stream.Back(time.Hour), numbers(0, 50)},
	} {
		h := newHarness(t)
		h.create(1, "ins")
		h.create(1, "copies")
		h.sent("ins", 0, 0, 20)
		h.moveTo("ins", 0, 100)
		app := h.start(copying(t, ins.Reset(c.policy)), h.config()).settled()
		require.Eventually(t, func() bool { return h.offset("ins", 0) == 20 }, patience, poll)
		h.sent("ins", 0, 20, 30)
		app.caughtUp()
		require.EqualValues(t, 50, h.offset("ins", 0))
		app.stop()
		require.Equal(t, c.want, h.values("copies"))
	}
	h := newHarness(t)
	h.create(1, "ins")
	h.create(1, "copies")
	h.sent("ins", 0, 0, 20)
	h.moveTo("ins", 0, 100)
	err := h.start(copying(t, ins.Reset(stream.Refuse())), h.config()).fails()
	require.ErrorContains(t, err, "offset 100")
	require.ErrorContains(t, err, "reset policy is none")
	require.ErrorIs(t, err, runtime.ErrNoOffset)
}

// The offsets of a topic that was deleted say nothing about the one that has its name now.
func TestAnInputThatIsRecreatedMeanwhileStartsByItsPolicy(t *testing.T) {
	for _, local := range []bool{true, false} {
		for _, n := range []int{10, 200} {
			h := newHarness(t)
			h.create(1, "ins")
			h.create(1, "copies")
			cfg := h.config()
			cfg.NoLocal = !local
			log := &lastLog{}
			cfg.Logger = logged(log)
			app := h.start(copying(t, ins), cfg)
			h.sent("ins", 0, 0, 100)
			app.caughtUp()
			h.remove("ins")
			h.create(1, "ins")
			h.sent("ins", 0, 1000, n)
			want := append(numbers(0, 100), numbers(1000, 1000+n)...)
			require.Eventually(t, func() bool { return len(h.read("copies")) >= len(want) }, patience, poll)
			app.caughtUp()
			require.EqualValues(t, n, h.offset("ins", 0))
			app.stop()
			require.Equal(t, want, h.values("copies"))
			log.mu.Lock()
			require.Contains(t, string(log.buf), "deleted and recreated")
			require.NotContains(t, string(log.buf), "retention long")
			log.mu.Unlock()
		}
	}
}

// A process that has not heard of it commits an offset of a topic that was deleted and recreated. That does not count,
// also where the first commit of the new topic was cut short.
func TestALateOffsetOfADeletedInput(t *testing.T) {
	for guarantee, kind := range map[runtime.Guarantee]kmsg.Key{
		runtime.ExactlyOnce: kmsg.TxnOffsetCommit, runtime.AtLeastOnce: kmsg.OffsetCommit,
	} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "ins")
			h.create(1, "copies")
			cfg := h.config()
			cfg.Guarantee = guarantee
			h.sent("ins", 0, 0, 100)
			h.start(copying(t, ins), cfg).caughtUp().stop()
			late, err := h.admin.FetchOffsetsForTopics(h.ctx, cfg.ApplicationID, "ins")
			require.NoError(t, err)
			h.remove("ins")
			h.create(1, "ins")
			h.sent("ins", 0, 1000, 200)
			require.NoError(t, h.admin.CommitAllOffsets(h.ctx, cfg.ApplicationID, late.Offsets()))

			cut, commits := cfg, newToll(kind)
			cut.ClientOptions = h.over(func(c net.Conn) net.Conn { return tolled{c, commits} })
			cut.State.FS, cut.CloseTimeout, cut.TransactionTimeout = vfs.NewMem(), 200*time.Millisecond, time.Second
			commits.close()
			ctx, cancel := context.WithCancel(h.ctx)
			app, err := runtime.New(copying(t, ins), cut)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- app.Run(ctx) }()
			require.Eventually(t, func() bool { return commits.waiting.Load() > 0 }, patience, poll)
			cancel()
			<-ended

			app2 := h.start(copying(t, ins), cfg)
			want := append(numbers(0, 100), numbers(1000, 1200)...)
			require.Eventually(t, func() bool { return len(h.read("copies")) >= len(want) }, patience, poll)
			app2.caughtUp()
			require.EqualValues(t, 200, h.offset("ins", 0))
			app2.stop()
			commits.release()
			if guarantee == runtime.ExactlyOnce {
				require.Equal(t, want, h.values("copies"))
			} else {
				require.Subset(t, h.values("copies"), want)
			}
		})
	}
}
