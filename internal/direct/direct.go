// Package direct is how a client in the same process calls the bundled broker without requests: whole record batches
// straight into and out of the partition logs. Package broker implements it, so that a program which uses a cluster
// does not link the broker.
package direct

import (
	"context"
	"errors"
)

// Calls are those of an open broker. They may be made from any goroutine.
type Calls interface {
	// Produce appends batches, with the checks and the durability of a Produce request. The error is nil unless the
	// request as a whole fails; see ProduceResult.Err.
	Produce(ctx context.Context, req ProduceRequest) ([]ProduceResult, error)
	// Fetch reads batches, with the checks of a Fetch request. The error is nil unless the request as a whole fails;
	// see FetchResult.Err.
	Fetch(ctx context.Context, req FetchRequest) ([]FetchResult, error)
	// NewWatch prepares to wait for more of a partition, beside any number of others. See Watch. Of the place it takes
	// the topic, its id and the partition.
	NewWatch(place FetchPartition, isolation Isolation, fire func()) Watch
}

// Watch waits for more of a partition. Its owner calls one method at a time.
type Watch interface {
	// Arm lets the watch fire, once, when the partition can be read beyond an offset, begins after start, or can't be read
	// any more. It returns true instead where that is so already. What it fires is called from any goroutine, which may
	// hold locks of the broker: it must neither wait nor call the broker.
	Arm(start, beyond int64) (ready bool)
	// Disarm takes the last Arm back. It may have fired.
	Disarm()
}

// Of returns the calls of a *broker.Broker, and nil for everything else. Package broker sets it when it is linked.
var Of = func(broker any) Calls { return nil }

// ErrClosed is what a broker answers after Close.
var ErrClosed = errors.New("broker: closed")

// AfterDamageTag is the tag of FetchResult.AfterDamage in a partition of a Fetch response. Only this broker has that
// tagged field; clients skip tags that they do not know (KIP-482). The number is far from those of Apache Kafka.
const AfterDamageTag = 0x7457
