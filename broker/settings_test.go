package broker_test

import (
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// A promise about loss is kept: one replica is not two.
func TestMinInsyncReplicas(t *testing.T) {
	b := brokertest.New(t)
	topicWith(t, b, "t", "min.insync.replicas", "2")
	p := plain(t, b)
	require.ErrorIs(t, p.send(0, p.batch(0, "v")).Err, kerr.NotEnoughReplicas)
	leader := brokertest.Client(t, b, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	require.NoError(t, leader.ProduceSync(within(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr())
	one := "1"
	_, err := kadm.NewClient(leader).AlterTopicConfigs(within(t),
		[]kadm.AlterConfig{{Name: "min.insync.replicas", Value: &one}}, "t")
	require.NoError(t, err)
	require.NoError(t, p.send(0, p.batch(0, "v")).Err)
}

func TestMaxCompactionLag(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	topicWith(t, b, "t", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "1",
		"max.compaction.lag.ms", "60000")
	for range 5 {
		require.NoError(t, put(t, b, "t", "v", clock.Now()))
	}
	clock.Advance(30 * time.Second)
	require.NoError(t, put(t, b, "t", "last", clock.Now()))
	require.Len(t, valuesIn(t, b, "t"), 6)
	clock.Advance(2 * time.Minute)
	require.Equal(t, []string{"last"}, valuesIn(t, b, "t"))
}

// valuesIn reads a topic that is not empty.
func valuesIn(t *testing.T, b *broker.Broker, topic string) (values []string) {
	t.Helper()
	client := brokertest.Client(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	for _, r := range client.PollFetches(within(t)).Records() {
		values = append(values, string(r.Value))
	}
	return values
}

func TestSettingsWithoutEffectAreSpokenOfOnce(t *testing.T) {
	seen := &journal{}
	b := brokertest.New(t, seen.logTo())
	topicWith(t, b, "t", "compression.type", "zstd", "flush.ms", "1")
	topicWith(t, b, "u", "compression.type", "zstd", "preallocate", "false")
	require.Len(t, seen.lines("name=compression.type", "no effect"), 1)
	require.Empty(t, seen.lines("name=flush.ms"), "a node that syncs what it writes does more")
	require.Empty(t, seen.lines("name=preallocate"), "the default")
}

func TestTopicDefaults(t *testing.T) {
	b := brokertest.New(t, brokertest.Configure(func(cfg *broker.Config) {
		cfg.Partitions = 3
		cfg.TopicDefaults = map[string]string{"log.retention.ms": "60000", "segment.ms": "5000"}
	}))
	admin := kadm.NewClient(brokertest.Client(t, b))
	own := "7000"
	_, err := admin.CreateTopic(within(t), -1, -1, map[string]*string{"segment.ms": &own}, "t")
	require.NoError(t, err)
	require.Equal(t, 3, partitions(t, b, "t"))
	described, err := admin.DescribeTopicConfigs(within(t), "t")
	require.NoError(t, err)
	values := map[string]string{}
	for _, c := range described[0].Configs {
		values[c.Key] = c.MaybeValue()
	}
	require.Equal(t, "60000", values["retention.ms"])
	require.Equal(t, "7000", values["segment.ms"])
	described, err = admin.DescribeBrokerConfigs(within(t), 1)
	require.NoError(t, err)
	for _, c := range described[0].Configs {
		values[c.Key] = c.MaybeValue()
	}
	require.Equal(t, "60000", values["log.retention.ms"])
	require.Equal(t, "5000", values["log.roll.ms"])
	require.Contains(t, values["advertised.listeners"], "PLAINTEXT://")
	require.Equal(t, "30000", values["log.cleaner.backoff.ms"])
	require.Equal(t, "3", values["num.partitions"])

	for name, value := range map[string]string{"retention": "1", "retention.ms": "a week", "segment.bytes": "1"} {
		_, err := broker.Open(broker.Config{FS: vfs.NewMem(), TopicDefaults: map[string]string{name: value}})
		require.ErrorContains(t, err, "TopicDefaults")
		require.ErrorContains(t, err, name)
	}
}

// Without an authorizer everybody may do everything, and is told so when asking, as by Apache Kafka.
func TestAuthorizedOperations(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	client := brokertest.Client(t, b)
	const topic, group, cluster = 3576, 3400, 8096
	for _, asked := range []bool{true, false} {
		want := func(operations int32) int32 {
			if asked {
				return operations
			}
			return math.MinInt32
		}
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.IncludeTopicAuthorizedOperations = asked
		m, err := metadata.RequestWith(within(t), client)
		require.NoError(t, err)
		for _, mt := range m.Topics {
			require.Equal(t, want(topic), mt.AuthorizedOperations)
		}
		require.NotEmpty(t, m.Topics)
		described := kmsg.NewPtrDescribeClusterRequest()
		described.IncludeClusterAuthorizedOperations = asked
		c, err := described.RequestWith(within(t), client)
		require.NoError(t, err)
		require.Equal(t, want(cluster), c.ClusterAuthorizedOperations)
		groups := kmsg.NewPtrDescribeGroupsRequest()
		groups.Groups, groups.IncludeAuthorizedOperations = []string{"g"}, asked
		g, err := groups.RequestWith(within(t), client)
		require.NoError(t, err)
		require.Equal(t, want(group), g.Groups[0].AuthorizedOperations)
	}
}

// A member that leaves while it waits for the others is no trouble of the broker's.
func TestAMemberThatLeavesWhileItWaitsIsNoError(t *testing.T) {
	seen := &journal{}
	b := brokertest.New(t, brokertest.At(brokertest.NewClock()), brokertest.Configure(func(cfg *broker.Config) {
		cfg.InitialRebalanceDelay = time.Hour
		cfg.Logger = slog.New(slog.NewTextHandler(seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}))
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 60_000, 60_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	join.Protocols = append(join.Protocols, protocol)
	conn := dial(t, b)
	conn.send(join, 2, 1)
	awaitMember(t, b, "g")
	require.NoError(t, conn.Close())
	require.NoError(t, b.Close())
	require.Empty(t, seen.lines("level=ERROR"))
	require.Len(t, seen.lines("level=DEBUG", "left while it waited"), 1)
}

func TestLogDirsAreDescribed(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 2, "t")
	require.NoError(t, put(t, b, "t", "v", time.Now()))
	for version := range int16(6) {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		conn := dial(t, b)
		conn.send(req, version, 1)
		_, body := conn.receive()
		if version >= 2 {
			body = body[1:] // the header's tags
		}
		resp := kmsg.NewPtrDescribeLogDirsResponse()
		resp.SetVersion(version)
		require.NoError(t, resp.ReadFrom(body), strconv.Itoa(int(version)))
		require.Len(t, resp.Dirs, 1)
		require.False(t, resp.Dirs[0].IsCordoned)
		require.NoError(t, conn.Close())
	}
}

// A broker without a directory has no place to be named by.
func TestABrokerInMemoryIsNamedSo(t *testing.T) {
	_, err := broker.Open(broker.Config{MemoryBytesMax: 1})
	require.ErrorContains(t, err, "broker in memory")
}
