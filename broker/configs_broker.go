package broker

import (
	"fmt"
	"math"
	"net"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/meta"
)

// alterable is a configuration of the broker itself that can be altered while it runs, and how it takes effect.
type alterable struct {
	configDef
	apply func(value float64)
}

// alterables are all of them. The defaults of topics can be altered, too.
func (b *broker) alterables() []alterable {
	def := func(name string, kind kmsg.ConfigType, standard, least, most float64, doc string) configDef {
		return configDef{
			name: name, kind: kind, standard: strconv.FormatFloat(standard, 'f', -1, 64), min: least, max: most,
			effect: obeyed, doc: doc,
		}
	}
	return []alterable{
		{def("log.cleaner.backoff.ms", kindLong, millisOf(maintainEvery), compactEveryMin, millisOf(forever),
			"The time between two looks at what to compact, in milliseconds."),
			func(ms float64) { b.setEvery(&b.compact, time.Duration(ms)*time.Millisecond) }},
		{def("log.cleaner.io.max.bytes.per.second", kindDouble, float64(b.cfg.CompactionBytesPerSecondMax),
			compactionBytesMin, math.MaxInt64, "Config.CompactionBytesPerSecondMax"),
			func(bytes float64) { b.compactionBytes.Store(int64(bytes)) }},
		{def("max.connections", kindInt, float64(b.cfg.MaxConnections), 1, maxInt32, "Config.MaxConnections"),
			func(n float64) { b.connectionsMax.Store(int64(n)) }},
	}
}

func millisOf(d time.Duration) float64 { return float64(d.Milliseconds()) }

// compactEveryMin is the least time between two looks at what to compact, in milliseconds. Each looks at all topics.
const compactEveryMin = 100

// altered returns a configuration of the broker itself as it is after what was set at run time.
func (d *configDef) altered(own, all map[string]string) configKey {
	key := configKey{configDef: *d}
	key.inheritAltered(own, all, d.name)
	key.inheritLast(kmsg.ConfigSourceStaticBrokerConfig)
	return key
}

// brokerKeys returns the configurations of a broker that can be altered while it runs, in the order of their names: its
// own, and the defaults of topics under the names that a broker has for them.
func (b *broker) brokerKeys(own, all map[string]string) []configKey {
	var keys []configKey
	for _, a := range b.alterables() {
		keys = append(keys, a.altered(own, all))
	}
	for _, c := range b.topicConfigs() {
		if c.broker != "" {
			c.name = c.broker
			keys = append(keys, c)
		}
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].name < keys[j].name })
	return keys
}

// brokerConfigs returns what was set at run time for this broker, and for all of them.
func (b *broker) brokerConfigs() (own, all map[string]string) {
	b.meta.View(func(time.Time) {
		own = b.metaMachine.Configs(meta.Resource{Kind: meta.KindBroker, Name: strconv.Itoa(nodeID)})
		all = b.metaMachine.Configs(meta.Resource{Kind: meta.KindBroker})
	})
	return own, all
}

// applyBrokerConfigs puts what was set at run time into effect.
func (b *broker) applyBrokerConfigs() error {
	own, all := b.brokerConfigs()
	for _, a := range b.alterables() {
		value, err := strconv.ParseFloat(a.altered(own, all).standard, 64)
		if err != nil {
			return fmt.Errorf("broker: configuration %s: %w", a.name, err)
		}
		a.apply(value)
	}
	return b.setDefaults(own, all)
}

func checkBrokerName(name string) error {
	if name != "" && name != strconv.Itoa(nodeID) {
		return &textError{kerr.InvalidRequest,
			fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", nodeID, name)}
	}
	return nil
}

// configuredBroker is this broker, or all of them by an empty name.
func (b *broker) configuredBroker(name string) (*configured, error) {
	if err := checkBrokerName(name); err != nil {
		return nil, err
	}
	r := meta.Resource{Kind: meta.KindBroker, Name: name}
	own, all := b.brokerConfigs()
	c := &configured{set: own, keys: b.brokerKeys(own, all), unknown: notAlterable}
	if name == "" {
		c.set = all
	}
	c.check = func(set map[string]string) error {
		if err := b.checkConfigs(set, c.keys, notAlterable); err != nil {
			return &textError{kerr.InvalidRequest, err.Error()}
		}
		return nil
	}
	c.put = func(set map[string]string) error {
		if err := b.putConfigs(r, set); err != nil {
			return err
		}
		err := b.applyBrokerConfigs()
		for _, t := range b.topics.load().byName {
			for _, p := range t.partitions {
				b.configure(p, t.Topic)
			}
		}
		return err
	}
	return c, nil
}

func notAlterable(names []string) error {
	return &textError{kerr.InvalidRequest,
		"Cannot update these configs dynamically: [" + strings.Join(names, ", ") + "]"}
}

// putConfigs makes the configurations of a broker or a group durable.
func (b *broker) putConfigs(r meta.Resource, set map[string]string) error {
	err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.PutConfigs(r, set) })
	if err != nil {
		return b.storageError(err)
	}
	return nil
}

// describeBroker gives all of a broker's configurations; of all brokers, those that were set.
func (b *broker) describeBroker(name string, req *kmsg.DescribeConfigsRequest, r *request,
) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	if err := checkBrokerName(name); err != nil {
		return nil, err
	}
	var configs []kmsg.DescribeConfigsResponseResourceConfig
	own, all := b.brokerConfigs()
	for _, c := range b.brokerKeys(own, all) {
		values := c.inherited
		if name == "" {
			value, ok := all[c.name]
			if !ok {
				continue
			}
			values = []inherited{{value, kmsg.ConfigSourceDynamicDefaultBrokerConfig}}
		}
		configs = append(configs, describeConfig(c.name, c.kind, c.doc, values, req))
	}
	if name == "" {
		return configs, nil
	}
	for _, c := range b.fixedConfigs(r) {
		values := []inherited{{c.value, kmsg.ConfigSourceStaticBrokerConfig}}
		out := describeConfig(c.name, c.kind, c.doc, values, req)
		out.ReadOnly, out.IsDefault = true, true
		configs = append(configs, out)
	}
	return configs, nil
}

// fixedConfig is a configuration of a broker that clients read and nobody alters while it runs.
type fixedConfig struct {
	name  string
	kind  kmsg.ConfigType
	value string
	doc   string
}

// fixedConfigs is what clients ask for beside what can be altered.
func (b *broker) fixedConfigs(r *request) []fixedConfig {
	cfg := &b.cfg
	host, port := b.server.advertised(r)
	listener := "PLAINTEXT://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	millis := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	id, one := strconv.Itoa(nodeID), "1"
	return []fixedConfig{
		{"advertised.listeners", kindList, listener, "Config.Advertise"},
		{"authorizer.class.name", kindString, "", "There is no authorizer."},
		{"auto.create.topics.enable", kindBool, strconv.FormatBool(cfg.AutoCreateTopics), "Config.AutoCreateTopics"},
		{"broker.id", kindInt, id, "The only node's id."},
		{"connections.max.idle.ms", kindLong, millis(cfg.IdleConnectionMax), "Config.IdleConnectionMax"},
		{"default.replication.factor", kindInt, one, "There is one node."},
		{"delete.topic.enable", kindBool, "true", "Topics can be deleted."},
		{"fetch.max.bytes", kindInt, strconv.Itoa(cfg.MaxFetchBytes), "Config.MaxFetchBytes"},
		{"group.coordinator.rebalance.protocols", kindList, "classic", "The protocols of groups."},
		{"group.initial.rebalance.delay.ms", kindInt, millis(cfg.InitialRebalanceDelay), "Config.InitialRebalanceDelay"},
		{"group.max.session.timeout.ms", kindInt, millis(cfg.MaxSessionTimeout), "Config.MaxSessionTimeout"},
		{"group.max.size", kindInt, strconv.Itoa(cfg.MaxGroupMembers), "Config.MaxGroupMembers"},
		{"group.min.session.timeout.ms", kindInt, millis(cfg.MinSessionTimeout), "Config.MinSessionTimeout"},
		{"listener.security.protocol.map", kindString, "PLAINTEXT:PLAINTEXT", "Connections are not encrypted."},
		{"listeners", kindList, listener, "Config.Listener"},
		{"log.cleaner.enable", kindBool, "true", "Compacted topics are compacted."},
		{"log.cleaner.threads", kindInt, one, "Logs are compacted one after the other."},
		{"log.dir", kindString, cfg.Dir, "Config.Dir"},
		{"log.dirs", kindString, cfg.Dir, "Config.Dir"},
		{"log.retention.check.interval.ms", kindLong, millis(maintainEvery), "The time between two looks at what to delete."},
		{"node.id", kindInt, id, "The only node's id."},
		{"num.partitions", kindInt, strconv.Itoa(int(cfg.Partitions)), "Config.Partitions"},
		{"offset.metadata.max.bytes", kindInt, strconv.Itoa(maxOffsetMetadata), "The largest text beside an offset."},
		{"offsets.retention.minutes", kindInt, strconv.Itoa(int(cfg.OffsetRetention.Minutes())),
			"Config.OffsetRetention"},
		{"offsets.topic.num.partitions", kindInt, one, "The groups' offsets are in one log."},
		{"offsets.topic.replication.factor", kindInt, one, "There is one node."},
		{"process.roles", kindList, "broker,controller", "The only node is all there is."},
		{"socket.request.max.bytes", kindInt, strconv.Itoa(cfg.MaxRequestBytes), "Config.MaxRequestBytes"},
		{"transaction.max.timeout.ms", kindInt, millis(cfg.MaxTransactionTimeout), "Config.MaxTransactionTimeout"},
		{"transaction.state.log.min.isr", kindInt, one, "There is one node."},
		{"transaction.state.log.num.partitions", kindInt, one, "The transactions are in one log."},
		{"transaction.state.log.replication.factor", kindInt, one, "There is one node."},
		{"transactional.id.expiration.ms", kindInt, millis(transactionalIDAge),
			"The time after which an idle id is forgotten."},
	}
}
