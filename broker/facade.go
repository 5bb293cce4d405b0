package broker

import (
	"context"
	"errors"
	"net"

	"thalweg/broker/internal/meta"
	"thalweg/internal/direct"
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
	direct.Calls
	Stats() Stats
	Backup(ctx context.Context, dir string) error
}

// The client of an application calls the broker of its process through package direct.
func init() {
	direct.Of = func(broker any) direct.Calls {
		if b, ok := broker.(*Broker); ok && b != nil {
			return b.in
		}
		return nil
	}
}

// Open recovers what the data directory holds and starts serving.
func Open(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	b := &broker{cfg: cfg, metaMachine: meta.New(), stop: make(chan struct{})}
	b.maintain.every = maintainEvery
	b.handlers = b.handlerTable()
	b.server = newServer(b)
	if err := errors.Join(cfg.validate(), b.setDefaults(nil, nil)); err != nil {
		return nil, errors.Join(err, b.server.close())
	}
	err := b.joinMemory()
	if err == nil {
		err = b.server.address()
	}
	if err == nil {
		err = b.recover()
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.startChore(&b.maintain, maintainFirst, b.maintainLogs)
	b.startChore(&b.compact, compactFirst, b.compactLogs)
	b.openControl()
	b.server.start()
	return &Broker{b}, nil
}

// Close stops serving, syncs what is written to the disk and releases the data directory.
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

// Stats returns what the broker does and holds at this moment.
func (b *Broker) Stats() Stats { return b.in.Stats() }

// Backup writes a consistent copy of the data directory to dir, which must not exist or be empty, while the broker
// works. A broker that is opened on the copy finds all topics, groups and transactions as they were at one moment. A
// backup that is cut short leaves nothing at dir. It fails while a partition is offline. It writes through Config.FS.
// One backup runs at a time.
func (b *Broker) Backup(ctx context.Context, dir string) error { return b.in.Backup(ctx, dir) }
