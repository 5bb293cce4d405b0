package broker

import (
	"context"
	"errors"
	"net"
)

// Broker is an open broker. All methods may be called from any goroutine.
type Broker struct {
	cfg Config
}

var errNotYet = errors.New("broker: under construction")

// Open recovers what the data directory holds and starts serving.
func Open(cfg Config) (*Broker, error) { return nil, errNotYet }

// Addr returns the seed address for clients: the listener's, or a name that only Dial understands.
func (b *Broker) Addr() string { return "" }

// Dial returns a new connection within the process. Network and address are ignored; the signature is that of
// kgo.Dialer.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return nil, errNotYet
}

// Produce appends batches, with the checks and the durability of a Produce request. The error is nil unless the
// request as a whole fails; see ProduceResult.Err.
func (b *Broker) Produce(ctx context.Context, req ProduceRequest) ([]ProduceResult, error) {
	return nil, errNotYet
}

// Fetch reads batches, with the checks of a Fetch request. The error is nil unless the request as a whole fails; see
// FetchResult.Err.
func (b *Broker) Fetch(ctx context.Context, req FetchRequest) ([]FetchResult, error) {
	return nil, errNotYet
}

// Close stops serving, forces what is written to the disk and releases the data directory.
func (b *Broker) Close() error { return errNotYet }
