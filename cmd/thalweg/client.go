package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flags that say which broker a command talks to, and how long it waits for answers.
type connection struct {
	brokers string
	timeout time.Duration
}

func (c *connection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.brokers, "brokers", "127.0.0.1:9092", "HOST:PORT addresses of the broker or cluster")
	complete(cmd, "brokers", brokerNames)
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "fail when the broker has not answered for so long (0: never)")
}

// seeds are the addresses.
func seeds(brokers string) []string {
	addresses := strings.Split(brokers, ",")
	for i, a := range addresses {
		addresses[i] = strings.TrimSpace(a)
	}
	return slices.DeleteFunc(addresses, func(a string) bool { return a == "" })
}

// client is a client of a broker that has answered.
type client struct {
	*kgo.Client
	admin    *kadm.Client
	patience *patience
}

// closeTimeout is how long a client may take to leave its group when the command is done.
const closeTimeout = 3 * time.Second

// talk runs do with a client. The context of do ends when the broker does not answer for too long: talk then returns an
// error that says so, whatever do returns.
func (c *connection) talk(
	cmd *cobra.Command, p *patience, do func(context.Context, *client) error, opts ...kgo.Opt,
) error {
	if c.timeout < 0 {
		return fmt.Errorf("-timeout %v: want a positive duration, or 0 to wait forever", c.timeout)
	}
	if len(seeds(c.brokers)) == 0 {
		return errors.New("-brokers is empty: want HOST:PORT addresses")
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	p.brokers, p.limit, p.out = c.brokers, c.timeout, cmd.ErrOrStderr()
	kc, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds(c.brokers)...), kgo.DisableClientMetrics(), kgo.WithHooks(p),
	}, opts...)...)
	if err != nil {
		return fmt.Errorf("-brokers %q: %w", c.brokers, err)
	}
	defer closeSoon(kc)
	p.progress()
	go p.watch(ctx, cancel)
	if err := kc.Ping(ctx); err != nil {
		if ended := outcome(ctx, cmd, err); !errors.Is(ended, err) {
			return ended
		}
		return fmt.Errorf("no broker answers at %s: start one with thalweg broker, or name another with -brokers: %w",
			c.brokers, err)
	}
	p.answered()
	return outcome(ctx, cmd, do(ctx, &client{kc, kadm.NewClient(kc), p}))
}

// outcome is the error of a command: what ended its context comes before what the client made of that.
func outcome(ctx context.Context, cmd *cobra.Command, err error) error {
	var silent *silentError
	switch {
	case err == nil || errors.As(err, &silent):
		return err
	case errors.As(context.Cause(ctx), &silent):
		return silent
	case cmd.Context().Err() != nil && errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	}
	return err
}

// closeSoon closes a client. It does not wait for a broker that is gone.
func closeSoon(kc *kgo.Client) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		kc.Close()
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
	}
}
