package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flag that says which broker a command talks to.
type connection struct{ brokers string }

func (c *connection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.brokers, "brokers", "127.0.0.1:9092", "HOST:PORT addresses of the broker or cluster")
}

func (c *connection) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.DisableClientMetrics(),
	}, opts...)...)
}
