package kclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"thalweg/internal/direct"
)

// Broker is the bundled broker in this process: a *broker.Broker. With anything else the client speaks the protocol
// through Dial.
type Broker interface {
	Addr() string
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client is a worker's connection to a broker.
type Client struct {
	cfg       Config
	client    *kgo.Client
	admin     *kadm.Client
	metadata  *metadata
	transport transport
	member    *Member // whose group's offsets it commits; nil without Config.Group
	fetcher   *Fetcher
	producer  *producer
	log       *slog.Logger
	closed    chan struct{}
	closeOnce sync.Once
	keyed     bool // there is a producer id, for WriteKeyed
	implicit  bool // what probe has learned
	topics    *Topics
	offsets   *groupOffsets
}

// Open connects to the broker and, when there is a Group, joins it. ctx bounds the wait for the first answer.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	implicit, err := cfg.probed(ctx)
	if err != nil {
		return nil, err
	}
	l := &Client{cfg: cfg, log: cfg.Logger, closed: make(chan struct{}), member: cfg.Member}
	if cfg.Group != "" {
		l.member = newMember(cfg, l.closed)
	}
	l.client, err = cfg.newClient(implicit, l.own())
	if err != nil {
		return nil, err
	}
	if m := l.own(); m != nil {
		m.begin(l.client)
	}
	if cfg.Member != nil { // its offsets are those of the member's group
		l.cfg.Group, l.cfg.InstanceID = cfg.Member.cfg.Group, cfg.Member.cfg.InstanceID
	}
	l.implicit = implicit
	l.admin = kadm.NewClient(l.client)
	l.metadata = newMetadata(l.client, l.log)
	l.offsets = &groupOffsets{
		cfg: l.cfg, client: l.client, metadata: l.metadata, member: l.member, own: l.own() != nil,
	}
	l.topics = &Topics{cfg: l.cfg, client: l.client, admin: l.admin, metadata: l.metadata, log: l.log}
	l.transport = cfg.transport(l.client)
	l.fetcher = newFetcher(FetcherConfig{
		BytesMax:          cfg.FetchBytesMax,
		PartitionBytesMax: cfg.FetchPartitionBytesMax,
		ReadUncommitted:   cfg.ReadUncommitted,
	}, cfg, l.transport, l.metadata)
	l.producer = newProducer(cfg, l.transport, l.metadata, l.client, implicit)
	return l, nil
}

// own is the membership of a client that is a member itself.
func (c *Client) own() *Member {
	if c.cfg.Member != nil {
		return nil
	}
	return c.member
}

// newClient returns a client of franz-go, which is a member where one is given.
func (c Config) newClient(implicit bool, m *Member) (*kgo.Client, error) {
	opts := append(c.connection(), kgo.MaxVersions(c.versions(implicit)))
	if m != nil {
		opts = append(opts, m.group.options(c)...)
	}
	client, err := kgo.NewClient(append(opts, c.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("kclient: open: %w", err)
	}
	return client, nil
}

// Events returns the changes of the client's own membership, see [Member.Events].
func (c *Client) Events() <-chan Event {
	if m := c.own(); m != nil {
		return m.Events()
	}
	return nil
}

// Rejoin makes the group of the client's own membership assign again, see [Member.Rejoin].
func (c *Client) Rejoin() { c.client.ForceRebalance() }

// Fetcher returns the fetch stream of the worker's inputs.
func (c *Client) Fetcher() *Fetcher { return c.fetcher }

// OpenFetcher returns a further fetch stream, independent of the others, on a connection of its own: for restoring.
// The caller closes it before the client.
func (c *Client) OpenFetcher(fc FetcherConfig) (*Fetcher, error) {
	select {
	case <-c.closed:
		return nil, ErrClosed
	default:
	}
	if _, ok := c.transport.(*local); ok {
		return newFetcher(fc, c.cfg, c.transport, c.metadata), nil
	}
	client, err := kgo.NewClient(append(c.cfg.connection(), c.cfg.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("kclient: open fetcher: %w", err)
	}
	f := newFetcher(fc, c.cfg, &remote{client: client}, newMetadata(client, c.log))
	f.onClose = client.Close
	return f, nil
}

// Admin returns franz-go's admin client on the client's connections.
func (c *Client) Admin() *kadm.Client { return c.admin }

// Topics returns what makes and changes topics, and tells about them.
func (c *Client) Topics() *Topics { return c.topics }

// Close leaves the group and drops what was not yet sent. An open transaction is left to its timeout: end it
// before. Revoked and Lost events that wait for Done are released.
func (c *Client) Close() {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.fetcher.Close()
		c.producer.close()
		if m := c.own(); m != nil {
			m.leave()
			c.client.Close()
			<-m.group.watched
			return
		}
		c.client.Close()
	})
}

// NewClient returns a client of franz-go with the client's connection and further options.
func (c Config) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	c = c.withDefaults()
	return kgo.NewClient(slices.Concat(c.connection(), opts, c.Client)...)
}

// connection returns what every client of the client needs, before Config.Client.
func (c Config) connection() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ClientID(c.ClientID),
		kgo.SoftwareNameAndVersion("thalweg", "1"),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.RetryBackoffFn(func(try int) time.Duration { return min(10*time.Millisecond<<min(try, 6), pauseMax) }),
		kgo.DisableClientMetrics(),
		kgo.WithLogger(clientLog{c.Logger}),
	}
	if c.Broker != nil {
		return append(opts, kgo.SeedBrokers(c.Broker.Addr()), kgo.Dialer(c.dial))
	}
	return append(opts, kgo.SeedBrokers(c.Seeds...))
}

// dial connects to the bundled broker in this process.
func (c Config) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.Broker.Dial(ctx, network, addr)
	if c.BrokerClosed != nil && errors.Is(err, direct.ErrClosed) {
		go c.BrokerClosed()
	}
	return conn, err
}

func (c Config) transport(client *kgo.Client) transport {
	if calls := direct.Of(c.Broker); calls != nil && !c.NoLocal {
		return &local{calls: calls}
	}
	return &remote{client: client}
}

// probed is what is known of the broker, or what it answers.
func (c Config) probed(ctx context.Context) (implicit bool, err error) {
	switch {
	case c.Known != nil:
		return c.Known.implicit, nil
	default:
		implicit, err = probe(ctx, c)
		return implicit && !c.explicitTransactions, err
	}
}

// probe waits for a first answer and tells whether partitions and groups join a transaction by being written to
// (KIP-890: Produce 12, TxnOffsetCommit 5, EndTxn 5), which takes both the versions and the feature.
func probe(ctx context.Context, cfg Config) (implicit bool, err error) {
	client, err := kgo.NewClient(append(cfg.connection(), cfg.Client...)...)
	if err != nil {
		return false, fmt.Errorf("kclient: open: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.OpenTimeout, errRetryTimeout)
	defer cancel()
	for pause := newBackoff(); ; {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "thalweg", "1"
		resp, err := req.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			return supportsImplicitTransactions(resp), nil
		}
		if errors.Is(err, direct.ErrClosed) {
			return false, fmt.Errorf("kclient: open: %w", ErrBrokerClosed)
		}
		if isRetriable(err) {
			waitErr := pause.wait(ctx)
			if waitErr == nil {
				continue
			}
			err = fmt.Errorf("%w, last: %w", waitErr, err)
		}
		return false, fmt.Errorf("kclient: open: no answer from %v: %w; "+
			"is the broker running, and is this its address?", client.OptValue(kgo.SeedBrokers), err)
	}
}

func supportsImplicitTransactions(resp *kmsg.ApiVersionsResponse) bool {
	wanted := map[int16]int16{int16(kmsg.Produce): 12, int16(kmsg.TxnOffsetCommit): 5, int16(kmsg.EndTxn): 5}
	for _, k := range resp.ApiKeys {
		if low, ok := wanted[k.ApiKey]; ok && k.MaxVersion >= low {
			delete(wanted, k.ApiKey)
		}
	}
	if len(wanted) > 0 {
		return false
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2
		}
	}
	return false
}

// versions caps the versions that would mean implicit transactions to a broker that knows them but has the feature
// switched off, and that of static members.
func (c Config) versions(implicit bool) *kversion.Versions {
	v := kversion.Stable()
	if !implicit {
		v.SetMaxKeyVersion(int16(kmsg.Produce), 11)
		v.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
		v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		v.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	}
	if c.InstanceID != "" {
		v.SetMaxKeyVersion(int16(kmsg.JoinGroup), 8) // see group_static.go
	}
	return v
}

// request sends a control request, which franz-go retries on broken connections and moved coordinators, and tries
// again while one of the given codes is the answer.
func request[R kmsg.Response](ctx context.Context, timeout time.Duration, what string, again []error,
	send func(context.Context) (R, error), codeOf func(R) error) (resp R, err error) {
	err = retry(ctx, timeout, what, again, func(ctx context.Context) (err error) {
		if resp, err = send(ctx); err != nil {
			return err
		}
		return codeOf(resp)
	})
	return resp, err
}

// retry does something until it succeeds, or fails for a reason that stays, or timeout has passed. The given errors
// are tried again, too.
func retry(ctx context.Context, timeout time.Duration, what string, again []error,
	try func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errRetryTimeout)
	defer cancel()
	began := time.Now()
	for pause := newBackoff(); ; {
		err := try(ctx)
		if err == nil {
			return nil
		}
		retriable := isAny(err, again) || isRetriable(err)
		if !retriable || isUnknownTopic(err) && time.Since(began) > unknownTopicMax {
			return classified(fmt.Errorf("kclient: %s: %w%s", what, err, advice(err)))
		}
		if waitErr := pause.wait(ctx); waitErr != nil {
			return classified(fmt.Errorf("kclient: %s: %w, last: %w", what, waitErr, err))
		}
	}
}

// errRetryTimeout is the cause of a context that ended by Config.RetryTimeout.
var errRetryTimeout = errors.New("gave up retrying")

func isAny(err error, targets []error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// pauseMax is the longest pause between two tries.
const pauseMax = 500 * time.Millisecond

// backoff is the pause between two tries: 5 ms, doubling to pauseMax.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: 5 * time.Millisecond} }

func (b *backoff) take() time.Duration {
	d := b.next
	b.next = min(2*b.next, pauseMax)
	return d
}

// wait sleeps unless ctx ends before, which it returns.
func (b *backoff) wait(ctx context.Context) error {
	timer := time.NewTimer(b.take())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
