package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/meta"
)

// groupKeys returns the configurations of groups, as Apache Kafka has them. They concern group protocols that this
// broker does not serve: all are kept and shown, and none has an effect.
func groupKeys() []configKey {
	isolations := []string{"read_committed", "read_uncommitted"}
	defs := []configDef{
		{"consumer.assignment.interval.ms", kindInt, "1000", 0, 15_000, nil, "", hint, noProtocol},
		{"consumer.heartbeat.interval.ms", kindInt, "5000", 5000, 15_000, nil, "", hint, noProtocol},
		{"consumer.session.timeout.ms", kindInt, "45000", 45_000, 60_000, nil, "", hint, noProtocol},
		{"share.assignment.interval.ms", kindInt, "1000", 0, 15_000, nil, "", hint, noProtocol},
		{"share.auto.offset.reset", kindString, "latest", 0, 0, nil, "", hint, noProtocol},
		{"share.delivery.count.limit", kindInt, "5", 2, 10, nil, "", hint, noProtocol},
		{"share.heartbeat.interval.ms", kindInt, "5000", 5000, 15_000, nil, "", hint, noProtocol},
		{"share.isolation.level", kindString, "read_uncommitted", 0, 0, isolations, "", hint, noProtocol},
		{"share.partition.max.record.locks", kindInt, "2000", 100, 4000, nil, "", hint, noProtocol},
		{"share.record.lock.duration.ms", kindInt, "30000", 15_000, 60_000, nil, "", hint, noProtocol},
		{"share.renew.acknowledge.enable", kindBool, "true", 0, 0, nil, "", hint, noProtocol},
		{"share.session.timeout.ms", kindInt, "45000", 45_000, 60_000, nil, "", hint, noProtocol},
		{"streams.assignment.interval.ms", kindInt, "1000", 0, 15_000, nil, "", hint, noProtocol},
		{"streams.heartbeat.interval.ms", kindInt, "5000", 5000, 15_000, nil, "", hint, noProtocol},
		{"streams.initial.rebalance.delay.ms", kindInt, "3000", 0, maxInt32, nil, "", hint, noProtocol},
		{"streams.num.standby.replicas", kindInt, "0", 0, 2, nil, "", hint, noProtocol},
		{"streams.session.timeout.ms", kindInt, "45000", 45_000, 60_000, nil, "", hint, noProtocol},
	}
	keys := make([]configKey, len(defs))
	for i, def := range defs {
		def.broker = "group." + def.name // the name of the default
		keys[i].configDef = def
		keys[i].inheritLast(kmsg.ConfigSourceDefaultConfig)
	}
	return keys
}

const noProtocol = "Accepted for compatibility; it concerns a group protocol that this broker does not serve."

func (b *broker) groupConfigs(name string) (meta.Resource, map[string]string, error) {
	if name == "" {
		return meta.Resource{}, nil, &textError{kerr.InvalidRequest, "The name of the group is empty"}
	}
	r := meta.Resource{Kind: meta.KindGroup, Name: name}
	var set map[string]string
	b.meta.View(func(time.Time) { set = b.metaMachine.Configs(r) })
	return r, set, nil
}

// configuredGroup is a group, whether it has members or not.
func (b *broker) configuredGroup(name string) (*configured, error) {
	r, set, err := b.groupConfigs(name)
	if err != nil {
		return nil, err
	}
	keys := groupKeys()
	unknown := func(names []string) error { return unknownConfig("group", names) }
	return &configured{
		set: set, keys: keys, unknown: unknown,
		check: func(set map[string]string) error { return b.checkConfigs(set, keys, unknown) },
		put:   func(set map[string]string) error { return b.putConfigs(r, set) },
	}, nil
}

func (b *broker) describeGroup(name string, req *kmsg.DescribeConfigsRequest,
) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	_, set, err := b.groupConfigs(name)
	if err != nil {
		return nil, err
	}
	var configs []kmsg.DescribeConfigsResponseResourceConfig
	for _, c := range groupKeys() {
		configs = append(configs, c.describe(set, kmsg.ConfigSourceGroupConfig, req))
	}
	return configs, nil
}
