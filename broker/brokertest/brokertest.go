// Package brokertest opens brokers and clients for tests: in memory, on in-memory connections, without ports.
package brokertest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
)

// Option changes the configuration of a test's broker.
type Option func(*broker.Config)

// New opens a broker in memory. It is closed when the test ends.
func New(t testing.TB, opts ...Option) *broker.Broker {
	t.Helper()
	var cfg broker.Config
	for _, opt := range opts {
		opt(&cfg)
	}
	b, err := broker.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// Client connects a franz-go client to b in memory. It is closed when the test ends, before the broker.
func Client(t testing.TB, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	standard := []kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial),
		// A client that begins to fetch a part of its partitions asks for the others only when that fetch returns.
		kgo.FetchMaxWait(100 * time.Millisecond),
	}
	client, err := kgo.NewClient(append(standard, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// Dialer makes connections, as kgo.Dialer takes it.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Wrapped makes the connections of dial and puts something around each: to slow them down, to hold or to cut them.
func Wrapped(dial Dialer, wrap func(net.Conn) net.Conn) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrap(conn), nil
	}
}

// On puts the broker's data directory on fs, so that another broker can be opened on it later.
func On(fs vfs.FS) Option {
	return func(cfg *broker.Config) { cfg.FS = fs }
}

// Configure changes the configuration in any other way.
func Configure(f func(*broker.Config)) Option { return f }

// Flip inverts a byte of a file below a broker that is closed, as a bad disk may; twice, it restores it.
func Flip(t testing.TB, fs vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] = ^b[0]
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
