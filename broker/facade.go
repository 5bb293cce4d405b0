package broker

import (
	"context"
	"errors"
	"net"

	"thalweg/broker/internal/meta"
)

// Broker is an open broker. All methods may be called from any goroutine.
//
// What it is made of is behind an interface: a package that mentions a Broker would otherwise compile what the
// machinery has of generic types.
type Broker struct{ in serving }

type serving interface {
	Close() error
	ClusterID() string
	Addr() string
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	Produce(ctx context.Context, req ProduceRequest) ([]ProduceResult, error)
	Fetch(ctx context.Context, req FetchRequest) ([]FetchResult, error)
}

// Open recovers what the data directory holds and starts serving.
func Open(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	b := &broker{cfg: cfg, metaMachine: meta.New(), stop: make(chan struct{})}
	b.handlers = b.handlerTable()
	b.server = newServer(b)
	if err := errors.Join(cfg.validate(), b.setTopicDefaults()); err != nil {
		return nil, errors.Join(err, b.server.close())
	}
	err := b.server.address()
	if err == nil {
		err = b.recover()
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.maintainAfter(maintainFirst)
	b.server.start()
	return &Broker{b}, nil
}

// Close stops serving, forces what is written to the disk and releases the data directory.
func (b *Broker) Close() error { return b.in.Close() }

// ClusterID returns the name that the broker gave itself when its data directory was made.
func (b *Broker) ClusterID() string { return b.in.ClusterID() }

// Addr returns the seed address for clients: the listener's, or a name that only Dial understands.
func (b *Broker) Addr() string { return b.in.Addr() }

// Dial returns a new connection within the process. Network and address are ignored; the signature is that of
// kgo.Dialer.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return b.in.Dial(ctx, network, addr)
}

// Produce appends batches, with the checks and the durability of a Produce request. The error is nil unless the
// request as a whole fails; see ProduceResult.Err.
func (b *Broker) Produce(ctx context.Context, req ProduceRequest) ([]ProduceResult, error) {
	return b.in.Produce(ctx, req)
}

// Fetch reads batches, with the checks of a Fetch request. The error is nil unless the request as a whole fails; see
// FetchResult.Err.
func (b *Broker) Fetch(ctx context.Context, req FetchRequest) ([]FetchResult, error) {
	return b.in.Fetch(ctx, req)
}
