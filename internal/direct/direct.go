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
}

// Of returns the calls of a *broker.Broker, and nil for everything else. Package broker sets it when it is linked.
var Of = func(broker any) Calls { return nil }

// ErrClosed is what a broker answers after Close.
var ErrClosed = errors.New("broker: closed")

// AfterDamageTag is the tag of FetchResult.AfterDamage in a partition of a Fetch response. Only this broker has that
// tagged field; clients skip tags that they do not know (KIP-482). The number is far from those of Apache Kafka.
const AfterDamageTag = 0x7457
