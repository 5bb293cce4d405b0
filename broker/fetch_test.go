package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/direct"
	"thalweg/internal/faultfs"
)

// fetching returns where the result of the first partition will come.
func fetching(t *testing.T, b *broker.Broker, req direct.FetchRequest) <-chan direct.FetchResult {
	done, ctx := make(chan direct.FetchResult, 1), within(t)
	go func() {
		results, err := direct.Of(b).Fetch(ctx, req)
		if err != nil {
			t.Error(err)
		}
		done <- results[0]
	}()
	return done
}

// A fetch that waits for many bytes reads each once, and answers as soon as they are there.
func TestAFetchOfManyBytesReadsThemOnce(t *testing.T) {
	for _, before := range []int{0, 200} {
		for _, iso := range []direct.Isolation{direct.ReadUncommitted, direct.ReadCommitted} {
			t.Run(fmt.Sprint(before, iso), func(t *testing.T) {
				fs := faultfs.New(vfs.NewMem())
				b := brokertest.New(t, brokertest.On(fs), brokertest.At(brokertest.NewClock()),
					brokertest.Configure(func(cfg *broker.Config) { cfg.MaxTailBytes = 1 }))
				createTopic(t, b, 2, "t")
				p := plain(t, b)
				value := strings.Repeat("v", 1000)
				size := len(p.batch(0, value))
				for range before {
					require.NoError(t, p.send(0, p.batch(0, value)).Err)
				}
				const n = 400
				reads := fs.Count("/t-")
				done := fetching(t, b, direct.FetchRequest{
					Isolation: iso, MinBytes: n * size, MaxWait: time.Hour,
					Partitions: []direct.FetchPartition{{Topic: "t"}, {Topic: "t", Partition: 1}},
				})
				for range n - before {
					require.NoError(t, p.send(0, p.batch(0, value)).Err)
				}
				r := <-done
				answered := 0
				for _, run := range r.Batches {
					answered += len(run)
				}
				require.Equal(t, n*size, answered)
				require.LessOrEqual(t, reads.ReadBytes.Load(), int64(2*answered))
			})
		}
	}
}

// Waiting adds nothing when the partition's part of the answer is full, or the records were deleted meanwhile.
func TestAFetchWaitsNoLongerThanItMust(t *testing.T) {
	b := brokertest.New(t, brokertest.At(brokertest.NewClock()))
	createTopic(t, b, 1, "t")
	p := plain(t, b)
	require.NoError(t, p.send(0, p.batch(0, "first")).Err)
	done := fetching(t, b, direct.FetchRequest{
		MinBytes: 1 << 20, MaxWait: time.Hour,
		Partitions: []direct.FetchPartition{{Topic: "t", MaxBytes: 1000}},
	})
	for {
		select {
		case r := <-done:
			require.NoError(t, r.Err)
			require.Len(t, r.Batches, 1)
			require.LessOrEqual(t, len(r.Batches[0]), 1000)
			require.Greater(t, len(r.Batches[0]), 500)
			return
		default:
			require.NoError(t, p.send(0, p.batch(0, "more")).Err)
		}
	}
}

// A fetch that waits behind an open transaction is answered when the records that it waits for are deleted, whichever
// way it comes.
func TestAFetchEndsWhenItsRecordsAreDeleted(t *testing.T) {
	inSession := func(t *testing.T, b *broker.Broker) <-chan error {
		s := newSession(t, b)
		s.iso = 1
		s.fetch(map[int32]int64{0: 1})
		s.wait = time.Hour
		done := make(chan error, 1)
		go func() { done <- kerr.ErrorForCode(s.fetch(nil)[0].ErrorCode) }()
		return done
	}
	first := func(t *testing.T, b *broker.Broker) <-chan error {
		s := newSession(t, b)
		s.iso, s.wait = 1, time.Hour
		done := make(chan error, 1)
		go func() { done <- kerr.ErrorForCode(s.fetch(map[int32]int64{0: 1})[0].ErrorCode) }()
		return done
	}
	direct := func(t *testing.T, b *broker.Broker) <-chan error {
		done := make(chan error, 1)
		results := fetching(t, b, direct.FetchRequest{
			Isolation: direct.ReadCommitted, MinBytes: 1, MaxWait: time.Hour,
			Partitions: []direct.FetchPartition{{Topic: "t", Offset: 1}},
		})
		go func() { done <- (<-results).Err }()
		return done
	}
	for name, fetch := range map[string]func(*testing.T, *broker.Broker) <-chan error{
		"in a session": inSession, "the first of a session": first, "direct": direct,
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.New(t, brokertest.At(brokertest.NewClock()))
			createTopic(t, b, 1, "t")
			p := plain(t, b)
			require.NoError(t, p.send(0, p.batch(0, "v")).Err)
			require.NoError(t, newRawProducer(t, b, "tx").produce(0, "undecided"))
			before := broker.Visits(b)
			done := fetch(t, b)
			require.Eventually(t, func() bool { return broker.Visits(b) > before }, patience, time.Millisecond)

			offsets := kadm.Offsets{}
			offsets.AddOffset("t", 0, 2, -1)
			_, err := kadm.NewClient(brokertest.Client(t, b)).DeleteRecords(within(t), offsets)
			require.NoError(t, err)
			require.ErrorIs(t, <-done, kerr.OffsetOutOfRange)
		})
	}
}
