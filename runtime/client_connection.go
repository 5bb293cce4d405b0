package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/direct"
	"thalweg/internal/kclient"
	"thalweg/internal/memory"
	"thalweg/internal/progress"
)

// errClientClosed is what a call returns when the client is closed before or meanwhile.
var errClientClosed = ofKind(ErrClosed, errors.New("the client is closed"))

// connection is what is behind a [Client]. It connects when something is asked for that needs it.
type connection struct {
	cfg    Config
	member *memory.Member
	memory *memory.Share
	room   *memory.Gate // for bytes on their way to the broker
	lump   int64        // how much of it a call takes and gives back at a time
	closed chan struct{}
	why    error         // of closed
	open   chan struct{} // has a token while nobody opens the control client

	mu       sync.Mutex
	producer *kgo.Client
	control  *kclient.Client // for topics, offsets and reads without a group
	counts   map[string]partitionCount
}

func newConnection(cfg Config) (*connection, error) {
	m, err := memory.Join(memory.Request{
		Name: "client", BytesMax: cfg.Limits.MemoryBytesMax, Kinds: []memory.Kind{memory.Clients}, Follows: true,
	})
	if err != nil {
		return nil, err
	}
	share := m.Share(memory.Clients)
	share.Divide(1)
	c := &connection{
		cfg: cfg, member: m, memory: share, lump: lumpBytes,
		room:   memory.NewGate(share, func() int64 { return min(share.PartBytesMax(), sendBytesMax) }),
		closed: make(chan struct{}), open: make(chan struct{}, 1),
		counts: map[string]partitionCount{},
	}
	c.open <- struct{}{}
	return c, nil
}

func (c *connection) close() { c.end(errClientClosed) }

// brokerClosed ends the connection: a bundled broker that was closed does not open again.
func (c *connection) brokerClosed() { c.end(kclient.ErrBrokerClosed) }

// end makes all calls return why, those under way, too.
func (c *connection) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed() {
		return
	}
	c.why = why
	close(c.closed)
	c.room.Close()
	c.memory.Divide(-1)
	c.member.Leave()
	if c.producer != nil {
		c.producer.Close()
	}
	if c.control != nil {
		c.control.Close()
	}
}

func (c *connection) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *connection) clientConfig() kclient.Config {
	return kclient.Config{
		Seeds:          c.cfg.Seeds,
		Broker:         c.cfg.Broker,
		NoLocal:        c.cfg.NoLocal,
		Client:         franzOptions(c.cfg.ClientOptions),
		ClientID:       "thalweg-client",
		SessionTimeout: c.cfg.SessionTimeout,
		RetryTimeout:   c.cfg.RetryTimeout,
		OpenTimeout:    c.cfg.StartTimeout,
		BrokerClosed:   c.brokerClosed,
		Logger:         c.cfg.Logger,
	}
}

// reason is why a call failed: the end of the connection, where it ended.
func (c *connection) reason(err error) error {
	switch {
	case errors.Is(err, direct.ErrClosed): // and brokerClosed may be on its way
		return kclient.ErrBrokerClosed
	case err != nil && c.isClosed():
		return c.why
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return ofKind(ErrTopicMissing, err)
	}
	return err
}

// produce returns the client that writes. It connects by itself.
func (c *connection) produce() (*kgo.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed() {
		return nil, c.why
	}
	if c.producer == nil {
		client, err := c.clientConfig().NewClient(c.producerOptions()...)
		if err != nil {
			return nil, err
		}
		c.producer = client
	}
	return c.producer, nil
}

// opened returns the client that reads and administers, which waits at first for a broker that answers.
func (c *connection) opened(ctx context.Context) (*kclient.Client, error) {
	ctx, cancel := c.untilClosed(ctx)
	defer cancel()
	select {
	case <-c.open:
		defer func() { c.open <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.isClosed() {
		return nil, c.why
	}
	if c.control != nil {
		return c.control, nil
	}
	l, err := kclient.Open(ctx, c.clientConfig())
	switch {
	case err != nil && c.isClosed() || errors.Is(err, kclient.ErrBrokerClosed):
		return nil, c.reason(err)
	case err != nil:
		return nil, unreachable(fmt.Errorf("waited up to %v: %w", c.cfg.StartTimeout, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed() {
		l.Close()
		return nil, c.why
	}
	c.control = l
	return l, nil
}

// untilClosed ends with ctx or when the client is closed.
func (c *connection) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-c.closed:
			cancel(c.why)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (c *connection) ping(ctx context.Context) error {
	client, err := c.produce()
	if err != nil {
		return fmt.Errorf("runtime: ping: %w", err)
	}
	err = client.Ping(ctx)
	if reason := c.reason(err); errors.Is(reason, kclient.ErrBrokerClosed) {
		return fmt.Errorf("runtime: ping: %w", reason)
	}
	if err != nil {
		at := "the broker in this process"
		if len(c.cfg.Seeds) > 0 {
			at = strings.Join(c.cfg.Seeds, ",")
		}
		return unreachable(fmt.Errorf("runtime: ping: no broker answers at %s: is it running? %w", at, err))
	}
	return nil
}

func (c *connection) create(ctx context.Context, partitions int32, topics []string) error {
	if partitions < 0 {
		return fmt.Errorf("runtime: create topics: %d partitions: it takes one or more, or 0 for the default", partitions)
	}
	l, err := c.opened(ctx)
	if err != nil {
		return fmt.Errorf("runtime: create topics: %w", err)
	}
	specs := make([]kclient.TopicSpec, len(topics))
	for i, name := range topics {
		specs[i] = kclient.TopicSpec{
			Name: name, Partitions: partitions, Replicas: c.cfg.Topics.ReplicationFactor, Config: c.cfg.Topics.Config,
		}
		setDefault(&specs[i].Partitions, c.cfg.Topics.Partitions)
	}
	if _, err := l.Topics().Create(ctx, specs); err != nil {
		return fmt.Errorf("runtime: create topics: %w", c.reason(err))
	}
	if partitions == 0 {
		return nil
	}
	var errs []error
	for _, name := range topics {
		n, err := l.Partitions(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("runtime: create topic %s: %w", name, c.reason(err)))
		case n != partitions:
			errs = append(errs, ofKind(ErrTopicShape, fmt.Errorf("runtime: create topic %s: it exists with %d partitions, "+
				"not %d", name, n, partitions)))
		}
	}
	return errors.Join(errs...)
}

func (c *connection) remove(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	l, err := c.opened(ctx)
	if err != nil {
		return fmt.Errorf("runtime: delete topics: %w", err)
	}
	deleted, err := l.Admin().DeleteTopics(ctx, topics...)
	errs := []error{c.reason(err)}
	for _, t := range deleted {
		if t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, fmt.Errorf("%s: %w", t.Topic, t.Err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("runtime: delete topics: %w", err)
	}
	return nil
}

func (c *connection) reset(ctx context.Context, applicationID string) error {
	internal, err := c.internalTopics(ctx, applicationID)
	if err != nil {
		return fmt.Errorf("runtime: reset %s: %w", applicationID, err)
	}
	l, err := c.opened(ctx)
	if err != nil {
		return fmt.Errorf("runtime: reset %s: %w", applicationID, err)
	}
	// The group goes first: it refuses where a process of the application runs, and nothing may be gone by then. Offsets
	// without the topics would start the application in the middle of its input, without its state.
	gone, err := l.Admin().DeleteGroup(ctx, applicationID)
	if err = c.reason(err); err == nil {
		err = gone.Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("runtime: reset %s: group %s: %w: is a process of the application running? One that was killed "+
			"stays in the group until its session timeout; nothing was deleted", applicationID, applicationID, err)
	}
	if err := c.remove(ctx, internal); err != nil {
		return fmt.Errorf("runtime: reset %s: %w", applicationID, err)
	}
	return nil
}

// internalTopics are the topics that reset deletes.
func (c *connection) internalTopics(ctx context.Context, applicationID string) (internal []string, err error) {
	if !topicName(applicationID) || applicationID == "" {
		return nil, fmt.Errorf("%q is no application id", applicationID)
	}
	l, err := c.opened(ctx)
	if err != nil {
		return nil, err
	}
	all, err := l.Admin().ListTopics(ctx)
	if err != nil {
		return nil, c.reason(err)
	}
	for _, name := range all.Names() {
		if strings.HasPrefix(name, applicationID+"-") &&
			(strings.HasSuffix(name, "-changelog") || strings.HasSuffix(name, "-repartition")) {
			internal = append(internal, name)
		}
	}
	internal, err = c.ownTopics(ctx, l, applicationID, internal)
	return internal, c.reason(err)
}

// ownTopics leaves out topics that another application has listed, or may have (see claimants.withGroups), and adds the
// progress topic, which goes last.
func (c *connection) ownTopics(
	ctx context.Context, l *kclient.Client, applicationID string, internal []string,
) (own []string, err error) {
	noted := progress.TopicName(applicationID)
	id, err := l.Topics().Identify(ctx, append(slices.Clone(internal), noted)...)
	if err != nil {
		return nil, err
	}
	var known map[progress.Key]progress.Value
	_, listing := id.Topics[noted]
	if listing {
		if known, _, err = readProgress(ctx, l, noted, c.cfg); err != nil {
			return nil, err
		}
	}
	possible := claimantsOf(applicationID, internal, func(topic string) bool {
		listed, ok := known[internalTopic(topic)]
		return ok && !listed.Pending
	})
	owners, err := possible.owners(ctx, l, c.cfg, id)
	if err != nil {
		return nil, err
	}
	others, err := possible.withGroups(ctx, l, applicationID)
	if err != nil {
		return nil, err
	}
	own = slices.DeleteFunc(internal, func(name string) bool { return owners[name] != "" || others[name] })
	if listing {
		own = append(own, noted)
	}
	return own, nil
}
