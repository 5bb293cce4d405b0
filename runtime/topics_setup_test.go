package runtime_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// withoutTopics is a harness whose broker has no topics yet.
func withoutTopics(t *testing.T, opts ...brokertest.Option) *harness {
	h := newHarness(t, opts...)
	_, err := h.admin.DeleteTopics(h.ctx, "lines", "counts")
	require.NoError(t, err)
	return h
}

// listening makes a test's broker accept connections.
func listening(t *testing.T) brokertest.Option {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return brokertest.Configure(func(c *broker.Config) { c.Listener = l })
}

// onCluster is a configuration that reaches the harness' broker by its address.
func (h *harness) onCluster() runtime.Config {
	cfg := h.config()
	cfg.Broker, cfg.Seeds = nil, []string{h.broker.Addr()}
	return cfg
}

// onKafka is of an application on Apache Kafka where THALWEG_TEST_BROKERS says where it is (internal/kafkatest/suite),
// and otherwise on the bundled broker, over a network too. It makes its topics.
func (h *harness) onKafka(partitions int32) runtime.Config {
	cfg := h.onCluster()
	if seeds := os.Getenv("THALWEG_TEST_BROKERS"); seeds != "" {
		cfg.Seeds = strings.Split(seeds, ",")
	}
	cfg.Topics.Partitions, cfg.Topics.CreateOnCluster = partitions, true
	return cfg
}

// adminOf asks the brokers of an application.
func (h *harness) adminOf(cfg runtime.Config) *kadm.Client {
	h.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Seeds...))
	require.NoError(h.t, err)
	h.t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// partitions is the count of a topic, or 0.
func (h *harness) partitions(topic string) int {
	details, err := h.admin.ListTopics(h.ctx, topic)
	require.NoError(h.t, err)
	return len(details[topic].Partitions)
}

// logged is a log that a test reads when the application has ended.
func logged(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestMissingTopicsAreMadeOnTheBundledBroker(t *testing.T) {
	h := withoutTopics(t)
	cfg := h.config()
	cfg.StartTimeout = 10 * patience // it is not waited for
	log := loggedTo(&cfg)
	cfg.Errors.DeadLetters, cfg.Errors.Process = "deed", topology.DeadLetter // a typo
	cfg.Topics.Config = map[string]string{"retention.ms": "86400000"}
	app := h.start(words(t, byWord), cfg).settled()
	for _, topic := range []string{"lines", "counts", "deed"} {
		require.Equal(t, 4, h.partitions(topic), topic)
	}
	configs, err := h.admin.DescribeTopicConfigs(h.ctx, "lines")
	require.NoError(t, err)
	require.Equal(t, "86400000", setting(configs[0].Configs, "retention.ms"))
	h.feed(50)
	h.await()
	app.stop()
	h.exact()
	require.Contains(t, log.String(), "made topics that were missing")
	require.Contains(t, log.String(), "[lines (4 partitions) counts (4 partitions) deed (4 partitions)]")
}

func TestAMissingTopicEqualsTheOneItIsJoinedWith(t *testing.T) {
	h := newHarness(t)
	h.create(6, "orders")
	orders, prices := stream.NewTopic[string, int64]("orders"), stream.NewTopic[string, int64]("prices")
	b := stream.NewBuilder()
	b.Stream(orders).
		JoinTable(b.Table(prices, state.NewKV[string, int64]("prices")), func(n, price int64) int64 { return n * price }).
		To(stream.NewTopic[string, int64]("totals"))
	topo, err := b.Build()
	require.NoError(t, err)
	cfg := h.config()
	cfg.Topics.Partitions = 2
	h.start(topo, cfg).settled().stop()
	require.Equal(t, 6, h.partitions("prices"))
	require.Equal(t, 2, h.partitions("totals"))
}

func TestMissingTopicsOfAClusterAreNamedAtOnce(t *testing.T) {
	h := withoutTopics(t, listening(t))
	cfg := h.onCluster()
	cfg.Errors.DeadLetters, cfg.Errors.Process = "dead", topology.DeadLetter
	err := h.failsToStart(words(t, byWord), cfg)
	require.ErrorContains(t, err, `no topic "lines", "counts", "dead"`)
	require.ErrorIs(t, err, runtime.ErrTopicMissing)
	require.ErrorContains(t, err, "thalweg topics create lines counts dead -p 4 -brokers "+h.broker.Addr())
	require.Zero(t, h.partitions("lines"))

	cfg.Topics.CreateOnCluster = true
	h.start(words(t, byWord), cfg).settled().stop()
	require.Equal(t, 4, h.partitions("dead"))
}

// failsToStart is the error of an application whose time to start is short, but long enough to connect.
func (h *harness) failsToStart(topo *topology.Topology, cfg runtime.Config) error {
	h.t.Helper()
	for cfg.StartTimeout = time.Second; ; cfg.StartTimeout *= 2 {
		if err := h.start(topo, cfg).fails(); !strings.Contains(err.Error(), "runtime: connect") {
			return err
		}
	}
}

// onLine is a log that does something at a line with a text.
type onLine struct {
	text string
	do   func()
}

func (o onLine) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(o.text)) {
		o.do()
	}
	return len(line), nil
}

// Topics that are missing are named also where the time ends while the broker does not answer.
func TestMissingTopicsAreNamedThoughTheBrokerFallsSilent(t *testing.T) {
	h := withoutTopics(t)
	silence := new(gate)
	cfg := h.config()
	cfg.Broker, cfg.Seeds, cfg.ClientOptions = nil, []string{h.broker.Addr()}, h.over(silence.wrap)
	waits := make(chan struct{})
	cfg.Logger = logged(onLine{"waiting for topics", func() {
		silence.Lock()
		close(waits)
	}})
	err := h.failsToStart(words(t, byWord), cfg)
	<-waits
	silence.Unlock()
	require.ErrorContains(t, err, `no topic "lines", "counts"`)
}

func TestTopicsOfAClusterThatComeLate(t *testing.T) {
	h := withoutTopics(t, listening(t))
	app := h.start(words(t, byWord), h.onCluster())
	h.create(2, "lines")
	h.create(1, "counts")
	app.settled()
	h.feed(50)
	h.await()
	app.stop()
	h.exact()
}

func TestTwoProcessesMakeTopicsAtTheSameTime(t *testing.T) {
	h := withoutTopics(t)
	var starting sync.WaitGroup
	apps := make([]*running, 2)
	for i := range apps {
		cfg := h.config()
		cfg.State.FS, cfg.Topics.Partitions = vfs.NewMem(), int32(3+i) // the first one decides
		starting.Go(func() { apps[i] = h.start(words(t, byWord), cfg) })
	}
	starting.Wait()
	for _, app := range apps {
		app.settled()
	}
	require.Contains(t, []int{3, 4}, h.partitions("lines"))
	h.feed(100)
	h.await()
	for _, app := range apps {
		app.stop()
	}
	h.exact()
}

func setting(configs []kadm.Config, key string) string {
	for _, c := range configs {
		if c.Key == key && c.Value != nil {
			return *c.Value
		}
	}
	return ""
}
