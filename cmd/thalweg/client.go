package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flag that says which broker a command talks to.
type connection struct{ brokers string }

func (c *connection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.brokers, "brokers", "127.0.0.1:9092", "HOST:PORT addresses of the broker or cluster")
}

// client connects to a broker that answers.
func (c *connection) client(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no broker answers at %s: start one with thalweg broker, or name another with -brokers: %w",
			c.brokers, err)
	}
	return client, nil
}
