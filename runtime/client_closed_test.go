package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/runtime"
)

// A bundled broker that was closed does not open again: a client does not wait for it, whether it has been in use or
// not.
func TestClientOfABrokerThatWasClosed(t *testing.T) {
	h := newHarness(t)
	calls := map[string]func(*runtime.Client) error{
		"Put":    func(c *runtime.Client) error { return c.Put(h.ctx, notes, "k", "v") },
		"Send":   func(c *runtime.Client) error { return c.Send(h.ctx, notes, note{Key: "k"}, note{Key: "l"}) },
		"Create": func(c *runtime.Client) error { return c.Create(h.ctx, 1, notes) },
		"Delete": func(c *runtime.Client) error { return c.Delete(h.ctx, notes) },
		"Reset":  func(c *runtime.Client) error { return c.Reset(h.ctx, "app") },
		"Ping":   func(c *runtime.Client) error { return c.Ping(h.ctx) },
		"Read": func(c *runtime.Client) (err error) {
			for _, err = range c.Read(h.ctx, notes, runtime.Earliest()) {
			}
			return err
		},
		"Offsets": func(c *runtime.Client) error {
			_, err := c.Offsets(h.ctx, notes, runtime.Earliest())
			return err
		},
	}
	used, unused := map[string]*runtime.Client{}, map[string]*runtime.Client{}
	for name := range calls {
		used[name], unused[name] = h.clientOf(h.config()), h.clientOf(h.config())
		require.NoError(t, used[name].Create(h.ctx, 1, notes))
		require.NoError(t, used[name].Put(h.ctx, notes, "k", "v"))
	}
	require.NoError(t, h.broker.Close())
	for name, call := range calls {
		for _, client := range []*runtime.Client{used[name], unused[name]} {
			err := call(client)
			require.ErrorIs(t, err, broker.ErrClosed, name)
			require.ErrorContains(t, err, "close the application and its clients before the broker", name)
		}
	}
}
