package broker

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/txn"
)

// Begin starts a request as the reader of a connection does: its effects are there when Begin returns. The answer may
// be long in coming.
func Begin(ctx context.Context, b *Broker, req kmsg.Request) (<-chan kmsg.Response, error) {
	r := &request{key: req.Key(), version: req.GetVersion(), clientID: "client", body: req}
	complete, err := b.in.(*broker).begin(ctx, r)
	if err != nil {
		return nil, err
	}
	answered := make(chan kmsg.Response, 1)
	go func() {
		if a, err := complete(ctx); err == nil {
			answered <- a.body
		}
	}()
	return answered, nil
}

// Decode reads a request, without its size, as a connection does.
func Decode(frame []byte) error {
	_, err := parseRequest(frame)
	return err
}

// HoldFence keeps a transactional id's requests waiting until the fence is released.
func HoldFence(b *Broker, transactionalID string) (open func()) {
	fence := b.in.(*broker).fences.of(transactionalID)
	fence.Lock()
	return fence.Unlock
}

// CompactionBudget is what compaction may read and write in a second, in bytes.
func CompactionBudget(b *Broker) int64 { return b.in.(*broker).compactionBytes.Load() }

// Visits is how often fetches have looked at a partition.
func Visits(b *Broker) int64 { return b.in.(*broker).counters.fetched.Load() }

// AllocatedBytes is what the process has allocated on the heap since it started.
func AllocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Stopping is closed when the broker has begun to close.
func Stopping(b *Broker) <-chan struct{} { return b.in.(*broker).stop }

// ParseTime and TimeText are for the file TIME.
func ParseTime(content []byte) (time.Time, error) { return parseTime(content) }
func TimeText(t time.Time) []byte                 { return timeText(t) }

// EndTransactionLate has a transaction's markers written after the broker has closed.
func EndTransactionLate(b *Broker) {
	in := b.in.(*broker)
	in.storageError(fmt.Errorf("end: %w", coord.ErrClosed))
	in.coordinatorError(fmt.Errorf("join: %w", coord.ErrClosed))
	<-in.finishLater(txn.Ending{ID: "late"}, -1)
	in.background.Wait()
}
