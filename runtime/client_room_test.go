package runtime

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/memory"
	"thalweg/topology"
)

// With little room SendAll waits for acknowledgments before it takes more, and an end of its context ends that.
func TestSendAllWaitsForRoom(t *testing.T) {
	b := brokertest.New(t)
	hold := make(chan struct{})
	blocked := func(c net.Conn) net.Conn { return &held{c, hold} }
	topic := topology.NewTopic[string, string]("notes")
	for name, cfg := range map[string]Config{
		"flowing": {Broker: b},
		"held":    {Broker: b, ClientOptions: Options(kgo.Dialer(brokertest.Wrapped(b.Dial, blocked)))},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
			c, err := NewClient(cfg)
			require.NoError(t, err)
			defer c.Close()
			c.core.(*connection).room, c.core.(*connection).lump = gateOf(10*recordOverheadBytes), 1
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if name == "flowing" {
				require.NoError(t, c.Create(ctx, 1, topic))
			}
			taken := 0
			err = c.SendAll(ctx, topic, func(yield func(topology.Record[string, string]) bool) {
				for range 500 {
					if taken++; taken == 10 && name == "held" {
						cancel(errors.New("enough")) // nothing was acknowledged, so one more has no room
					}
					if !yield(topology.Record[string, string]{}) {
						return
					}
				}
			})
			if name == "flowing" {
				require.NoError(t, err)
				require.Equal(t, 500, taken)
				return
			}
			require.ErrorContains(t, err, "send to topic notes: what was sent may have been written: enough")
			require.LessOrEqual(t, taken, 11)
		})
	}
	close(hold)
}

func gateOf(bytesMax int64) *memory.Gate {
	return memory.NewGate(memory.NewShare(memory.Clients, bytesMax), func() int64 { return bytesMax })
}

// held is a connection over which nothing arrives.
type held struct {
	net.Conn
	until chan struct{}
}

func (h *held) Read(p []byte) (int, error) {
	<-h.until
	return h.Conn.Read(p)
}
