package kclient

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// Config sets a client up. Seeds or Broker is required; everything else may be zero.
type Config struct {
	// Seeds are the host:port addresses of a cluster.
	Seeds []string
	// Broker is a bundled broker in this process, instead of Seeds.
	Broker Broker
	// NoLocal sends data to Broker through requests on in-memory connections, too.
	NoLocal bool
	// Client holds further options of franz-go: TLS, SASL, a dialer. They come last and win.
	Client []kgo.Opt
	// ClientID is how the broker's logs and metrics name this worker.
	ClientID string

	// Known is a client of the same broker: what it has learned of it is not asked for again.
	Known *Client

	// Group is the consumer group to join; without one, or a Member, there are no events and no offsets.
	Group string
	// Member is a membership of this process, instead of Group: the client commits offsets in its group and its name,
	// under the lease that UseLease says. It closes after the client.
	Member *Member
	// Topics are the group's subscription.
	Topics []string
	// Balancer assigns partitions when this worker leads the group; see NewBalancer. Nil means franz-go's
	// cooperative sticky one.
	Balancer kgo.GroupBalancer
	// InstanceID makes the membership static when it is set.
	InstanceID string
	// SessionTimeout is how long the group waits for a silent member. Default 10 s; brokers refuse less than 6 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is how often the member speaks up, and so how long a rebalance takes to begin. Default 1 s.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a member may take to give partitions back. Default 60 s.
	RebalanceTimeout time.Duration

	// TransactionalID makes the producer transactional; without one it is idempotent only.
	TransactionalID string
	// TransactionTimeout is after how long the broker aborts an open transaction. Default 10 s.
	TransactionTimeout time.Duration

	// ReadUncommitted fetches what transactions have written before they end, and what aborted ones wrote.
	ReadUncommitted bool

	// FetchBytesMax limits one fetch answer. Up to three of them exist per broker: one in the worker's hands, one
	// waiting, one under way. Default 8 MiB.
	FetchBytesMax int
	// FetchPartitionBytesMax limits one partition's part of it. Default 1 MiB.
	FetchPartitionBytesMax int
	// FetchWaitMax is how long an idle fetch waits at the broker. Default 100 ms.
	FetchWaitMax time.Duration
	// ProduceBytesMax limits what waits to be produced; Produce blocks above it. Default 64 MiB.
	ProduceBytesMax int
	// ProduceRequestBytesMax limits one produce request, but for a single larger batch. Default 16 MiB.
	ProduceRequestBytesMax int
	// OpenTimeout is how long Open waits for a broker's first answer. Default 15 s.
	OpenTimeout time.Duration
	// RetryTimeout is how long one request is retried before its error comes out. Default 2 min.
	RetryTimeout time.Duration

	// BrokerClosed, where set, is called on a goroutine of its own when a connection is opened to Broker after it was
	// closed: nothing will ever answer again. It may be called more than once.
	BrokerClosed func()

	// Logger is nil for silence.
	Logger *slog.Logger

	explicitTransactions bool // as if the broker were older than implicit ones: for tests
}

func (c Config) withDefaults() Config {
	setDefault(&c.SessionTimeout, 10*time.Second)
	setDefault(&c.HeartbeatInterval, time.Second)
	setDefault(&c.RebalanceTimeout, time.Minute)
	setDefault(&c.TransactionTimeout, 10*time.Second)
	setDefault(&c.FetchBytesMax, 8<<20)
	setDefault(&c.FetchPartitionBytesMax, 1<<20)
	setDefault(&c.FetchWaitMax, 100*time.Millisecond)
	setDefault(&c.ProduceBytesMax, 64<<20)
	setDefault(&c.ProduceRequestBytesMax, 16<<20)
	setDefault(&c.OpenTimeout, 15*time.Second)
	setDefault(&c.RetryTimeout, 2*time.Minute)
	setDefault(&c.ClientID, "thalweg")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case len(c.Seeds) == 0 && c.Broker == nil:
		return errors.New("kclient: config: neither Seeds nor Broker says where the broker is")
	case len(c.Seeds) > 0 && c.Broker != nil:
		return errors.New("kclient: config: set Seeds or Broker, not both")
	case c.Group != "" && c.Member != nil:
		return errors.New("kclient: config: set Group or Member, not both")
	case c.Group == "" && len(c.Topics) > 0:
		return errors.New("kclient: config: Topics without a Group")
	}
	return nil
}

// Check returns what is wrong with the configuration and with the options for franz-go, as far as it shows without a
// broker.
func (c Config) Check() error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	opts := c.connection()
	if c.Group != "" {
		opts = append(opts, newGroup(nil).options(c)...)
	}
	if err := kgo.ValidateOpts(append(opts, c.Client...)...); err != nil {
		return fmt.Errorf("kclient: config: %w", err)
	}
	return nil
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
