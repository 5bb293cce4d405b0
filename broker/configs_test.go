package broker_test

import (
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// alter sets or, by an empty value, deletes a configuration. The text is that of the error.
func alter(t *testing.T, client *kgo.Client, kind kmsg.ConfigResourceType, resource, name, value string,
) (text string, _ error) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, resource
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = name, &value
	if value == "" {
		c.Op = kmsg.IncrementalAlterConfigOpDelete
	}
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(within(t), client.Broker(1))
	require.NoError(t, err)
	out := resp.Resources[0]
	if out.ErrorMessage == nil {
		return "", kerr.ErrorForCode(out.ErrorCode)
	}
	return *out.ErrorMessage, kerr.ErrorForCode(out.ErrorCode)
}

type described struct {
	value  string
	source kmsg.ConfigSource
}

// configsOf returns the configurations of a resource, with their synonyms.
func configsOf(t *testing.T, client *kgo.Client, kind kmsg.ConfigResourceType, resource string) map[string][]described {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, resource
	req.Resources, req.IncludeSynonyms = append(req.Resources, r), true
	resp, err := req.RequestWith(within(t), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Resources[0].ErrorCode))
	configs := map[string][]described{}
	for _, c := range resp.Resources[0].Configs {
		configs[c.Name] = []described{{*c.Value, c.Source}}
		for _, s := range c.ConfigSynonyms {
			configs[c.Name] = append(configs[c.Name], described{*s.Value, s.Source})
		}
	}
	return configs
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
	ofGroup  = kmsg.ConfigResourceTypeGroupConfig
)

// What was set of a broker while it ran holds at once, for topics that do not set it, and over a restart.
func TestBrokerConfigsAreAltered(t *testing.T) {
	fs := vfs.NewMem()
	static := brokertest.Configure(func(cfg *broker.Config) {
		cfg.TopicDefaults = map[string]string{"log.retention.hours": "2", "log.roll.hours": "3", "log.roll.ms": "5"}
	})
	b := brokertest.New(t, brokertest.On(fs), static)
	createTopic(t, b, 1, "t")
	topicWith(t, b, "own", "max.message.bytes", "2000")
	client := brokertest.Client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.Equal(t, "7200000", configsOf(t, client, ofTopic, "t")["retention.ms"][0].value)
	require.Equal(t, "5", configsOf(t, client, ofTopic, "t")["segment.ms"][0].value)

	large := func(topic string) error {
		return client.ProduceSync(within(t), &kgo.Record{Topic: topic, Value: make([]byte, 1500)}).FirstErr()
	}
	require.NoError(t, large("t"))
	set := func(resource, name, value string) {
		_, err := alter(t, client, ofBroker, resource, name, value)
		require.NoError(t, err)
	}
	set("", "message.max.bytes", "1000")
	require.ErrorIs(t, large("t"), kerr.MessageTooLarge)
	require.NoError(t, large("own"))
	set("1", "message.max.bytes", "5000")
	require.NoError(t, large("t"))
	set("", "log.retention.ms", "60000")
	want := []described{
		{"5000", kmsg.ConfigSourceDynamicBrokerConfig}, {"5000", kmsg.ConfigSourceDynamicBrokerConfig},
		{"1000", kmsg.ConfigSourceDynamicDefaultBrokerConfig}, {"1048588", kmsg.ConfigSourceDefaultConfig},
	}
	require.Equal(t, want, configsOf(t, client, ofBroker, "1")["message.max.bytes"])
	require.Equal(t, want, configsOf(t, client, ofTopic, "t")["max.message.bytes"])
	require.Equal(t, append([]described{{"2000", 1}, {"2000", 1}}, want[1:]...),
		configsOf(t, client, ofTopic, "own")["max.message.bytes"])
	require.Len(t, configsOf(t, client, ofBroker, ""), 2, "those that are set for all brokers")

	require.NoError(t, b.Close())
	b = brokertest.New(t, brokertest.On(fs), static)
	client = brokertest.Client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.Equal(t, want, configsOf(t, client, ofTopic, "t")["max.message.bytes"])
	set("1", "message.max.bytes", "")
	require.ErrorIs(t, large("t"), kerr.MessageTooLarge)
	require.Equal(t, "60000", configsOf(t, client, ofTopic, "t")["retention.ms"][0].value)
	set("", "log.retention.ms", "")
	require.Equal(t, described{"7200000", kmsg.ConfigSourceStaticBrokerConfig},
		configsOf(t, client, ofTopic, "t")["retention.ms"][0])
}

func TestWhatCannotBeAlteredIsRefusedByName(t *testing.T) {
	client := brokertest.Client(t, brokertest.New(t))
	for _, c := range []struct {
		kind                  kmsg.ConfigResourceType
		resource, name, value string
		err                   error
		text                  string
	}{
		{ofBroker, "1", "log.dirs", "/x", kerr.InvalidRequest, "Cannot update these configs dynamically: [log.dirs]"},
		{ofBroker, "", "num.partitions", "4", kerr.InvalidRequest,
			"Cannot update these configs dynamically: [num.partitions]"},
		{ofBroker, "1", "nosuch", "4", kerr.InvalidRequest, "Cannot update these configs dynamically: [nosuch]"},
		{ofBroker, "2", "log.retention.ms", "4", kerr.InvalidRequest,
			"Unexpected broker id, expected 1 or empty string, but received 2"},
		{ofBroker, "", "log.retention.ms", "abc", kerr.InvalidRequest,
			"Invalid value abc for configuration log.retention.ms: not a number"},
		{ofGroup, "g", "nosuch", "1", kerr.InvalidConfig, "Unknown group config name: nosuch"},
		{ofGroup, "g", "consumer.session.timeout.ms", "5", kerr.InvalidConfig,
			"Invalid value 5 for configuration consumer.session.timeout.ms: must be from 45000 to 60000"},
	} {
		text, err := alter(t, client, c.kind, c.resource, c.name, c.value)
		require.ErrorIs(t, err, c.err, c.text)
		require.Equal(t, c.text, text)
	}
}

func TestGroupConfigs(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs))
	client := brokertest.Client(t, b)
	const name = "consumer.session.timeout.ms"
	require.Equal(t, described{"45000", kmsg.ConfigSourceDefaultConfig}, configsOf(t, client, ofGroup, "g")[name][0])
	_, err := alter(t, client, ofGroup, "g", name, "50000")
	require.NoError(t, err)
	b = restart(t, b, fs)
	client = brokertest.Client(t, b)
	require.Equal(t, []described{{"50000", 8}, {"50000", 8}, {"45000", 5}}, configsOf(t, client, ofGroup, "g")[name])
	require.Equal(t, "45000", configsOf(t, client, ofGroup, "other")[name][0].value)
	list := kmsg.NewPtrListConfigResourcesRequest()
	list.ResourceTypes = []int8{int8(ofGroup)}
	resp, err := list.RequestWith(within(t), client)
	require.NoError(t, err)
	require.Len(t, resp.ConfigResources, 1)
	require.Equal(t, "g", resp.ConfigResources[0].Name)
}

// How often compaction looks, and how much it reads and writes, can be altered while the broker runs.
func TestCompactionIsTunedWhileTheBrokerRuns(t *testing.T) {
	const backoff, budget = "log.cleaner.backoff.ms", "log.cleaner.io.max.bytes.per.second"
	clock, fs := brokertest.NewClock(), vfs.NewMem()
	b := brokertest.New(t, brokertest.At(clock), brokertest.On(fs))
	topicWith(t, b, "t", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "segment.ms", "60000")
	client := brokertest.Client(t, b)
	set := func(broker, name, value string) {
		text, err := alter(t, client, ofBroker, broker, name, value)
		require.NoError(t, err, text)
	}
	set("1", backoff, "3600000")
	for range 5 {
		require.NoError(t, put(t, b, "t", "v", clock.Now()))
	}
	clock.Advance(50 * time.Minute) // the segment is sealed
	require.Len(t, valuesIn(t, b, "t"), 5)
	set("1", backoff, "500")
	clock.Advance(time.Second)
	require.Len(t, valuesIn(t, b, "t"), 1)

	for _, bad := range [][2]string{{backoff, "99"}, {backoff, "soon"}, {budget, "1"}, {budget, "NaN"}} {
		text, err := alter(t, client, ofBroker, "", bad[0], bad[1])
		require.ErrorIs(t, err, kerr.InvalidRequest)
		require.Contains(t, text, bad[0])
	}
	set("", budget, "2097152.5")
	require.EqualValues(t, 2<<20, broker.CompactionBudget(b))
	b = restart(t, b, fs)
	require.EqualValues(t, 2<<20, broker.CompactionBudget(b))
	require.Equal(t, "500", configsOf(t, brokertest.Client(t, b), ofBroker, "1")[backoff][0].value)
}

func TestConnectionsAreLimitedWhileTheBrokerRuns(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	_, err := alter(t, client, ofBroker, "", "max.connections", "500")
	require.NoError(t, err)
	_, err = alter(t, client, ofBroker, "1", "max.connections", "600")
	require.NoError(t, err)
	require.Equal(t, []described{
		{"600", kmsg.ConfigSourceDynamicBrokerConfig}, {"600", kmsg.ConfigSourceDynamicBrokerConfig},
		{"500", kmsg.ConfigSourceDynamicDefaultBrokerConfig}, {"10000", kmsg.ConfigSourceStaticBrokerConfig},
	}, configsOf(t, client, ofBroker, "1")["max.connections"])
	_, err = alter(t, client, ofBroker, "", "max.connections", "")
	require.NoError(t, err)
	_, err = alter(t, client, ofBroker, "1", "max.connections", "1")
	require.NoError(t, err)
	_, err = b.Dial(within(t), "", "")
	require.ErrorContains(t, err, "max.connections")
	_, err = alter(t, client, ofBroker, "1", "max.connections", "")
	require.NoError(t, err)
	conn, err := b.Dial(within(t), "", "")
	require.NoError(t, err)
	defer func(c net.Conn) { require.NoError(t, c.Close()) }(conn)
}
