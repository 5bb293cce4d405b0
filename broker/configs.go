package broker

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
)

// effect is what a configuration does on this broker.
type effect int8

const (
	obeyed   effect = iota // a promise about loss, time, size or visibility: it is kept
	exceeded               // a single node that syncs what it writes already does more, or has no replicas for it
	hint                   // a matter of speed, space or format only: taken and shown, and said to have no effect
)

// configDef is one configuration that a topic, a broker or a group may have. Those that are not obeyed are accepted
// because clients set them, and described so that they find what they set. What would mislead about data is refused by
// its values.
type configDef struct {
	name     string
	kind     kmsg.ConfigType
	standard string // the default
	min, max float64
	values   []string // allowed ones; for a list, of each element
	broker   string   // name of the broker's configuration that gives the default
	effect   effect
	doc      string
}

// configKey is a configuration with the values that it has where the resource sets none, the strongest first. The
// standard one of the key is the first of them.
type configKey struct {
	configDef
	inherited []inherited
}

// inherited is a value that a resource has without setting it.
type inherited struct {
	value  string
	source kmsg.ConfigSource
}

// inherit appends the value that from has for a configuration, if it has one.
func (c *configKey) inherit(from map[string]string, name string, source kmsg.ConfigSource) {
	if value, set := from[name]; set {
		c.inherited = append(c.inherited, inherited{value, source})
	}
}

// inheritAltered appends what was set at run time for this broker, and for all brokers.
func (c *configKey) inheritAltered(own, all map[string]string, name string) {
	c.inherit(own, name, kmsg.ConfigSourceDynamicBrokerConfig)
	c.inherit(all, name, kmsg.ConfigSourceDynamicDefaultBrokerConfig)
}

// inheritLast appends the weakest value, after which the standard one of the key is known.
func (c *configKey) inheritLast(source kmsg.ConfigSource) {
	c.inherited = append(c.inherited, inherited{c.standard, source})
	c.standard = c.inherited[0].value
}

const (
	kindBool   = kmsg.ConfigTypeBoolean
	kindString = kmsg.ConfigTypeString
	kindInt    = kmsg.ConfigTypeInt
	kindLong   = kmsg.ConfigTypeLong
	kindDouble = kmsg.ConfigTypeDouble
	kindList   = kmsg.ConfigTypeList

	maxInt32     = math.MaxInt32
	maxInt64Text = "9223372036854775807"
)

// topicConfigs returns the table of all topic configurations, in the order of their names, with this broker's defaults.
// It is never changed: setDefaults puts another in its place.
func (b *broker) topicConfigs() []configKey { return *b.configTable.Load() }

// setDefaults computes the defaults of topics from these, the strongest first: what was set at run time for
// this broker, and for all brokers; Config.TopicDefaults; and the standard.
func (b *broker) setDefaults(own, all map[string]string) error {
	defs := b.standardTopicConfigs()
	static, err := staticDefaults(defs, b.cfg.TopicDefaults)
	if err != nil {
		return err
	}
	table := make([]configKey, len(defs))
	for i, def := range defs {
		c := &table[i]
		c.configDef = def
		if def.broker != "" {
			c.inheritAltered(own, all, def.broker)
		}
		c.inherit(static, def.name, kmsg.ConfigSourceStaticBrokerConfig)
		c.inheritLast(kmsg.ConfigSourceDefaultConfig)
	}
	b.configTable.Store(&table)
	return nil
}

// inHours are names with coarser units for a broker's milliseconds; the later of two for the same is the stronger one.
var inHours = []struct {
	name, topic string
	millis      int64
}{
	{"log.retention.hours", "retention.ms", 3_600_000},
	{"log.retention.minutes", "retention.ms", 60_000},
	{"log.roll.hours", "segment.ms", 3_600_000},
	{"log.roll.jitter.hours", "segment.jitter.ms", 3_600_000},
}

// staticDefaults is Config.TopicDefaults by the names that topics have for them.
func staticDefaults(table []configDef, given map[string]string) (map[string]string, error) {
	defaults := map[string]string{}
	var errs []error
	set := func(name, topic, value string) {
		i := slices.IndexFunc(table, func(c configDef) bool { return c.name == topic || c.broker == topic })
		if i < 0 || topic == "" {
			errs = append(errs, fmt.Errorf("broker: config: TopicDefaults: there is no topic configuration %q", name))
		} else if err := table[i].check(name, value); err != nil {
			errs = append(errs, fmt.Errorf("broker: config: TopicDefaults: %w", err))
		} else {
			defaults[table[i].name] = value
		}
	}
	coarse := map[string]bool{}
	for _, alias := range inHours {
		value, ok := given[alias.name]
		if !ok {
			continue
		}
		coarse[alias.name] = true
		if n, err := strconv.ParseInt(value, 10, 32); err == nil && n > 0 {
			value = strconv.FormatInt(n*alias.millis, 10)
		}
		set(alias.name, alias.topic, value)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) { // a topic's name for it comes after the broker's, and wins
		if !coarse[name] {
			set(name, name, given[name])
		}
	}
	return defaults, errors.Join(errs...)
}

func (b *broker) standardTopicConfigs() []configDef {
	codecs := []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}
	const i32, i64 = maxInt32, math.MaxInt64
	return []configDef{
		{"cleanup.policy", kindList, "delete", 0, 0, []string{"compact", "delete"}, "log.cleanup.policy", obeyed,
			"Whether old records are deleted, or compacted to the last one of each key."},
		{"compression.gzip.level", kindInt, "-1", -1, 9, nil, "compression.gzip.level", hint, noEffect},
		{"compression.lz4.level", kindInt, "9", 1, 17, nil, "compression.lz4.level", hint, noEffect},
		{"compression.type", kindString, "producer", 0, 0, codecs, "compression.type", hint, noEffect},
		{"compression.zstd.level", kindInt, "3", -131072, 22, nil, "compression.zstd.level", hint, noEffect},
		{"delete.retention.ms", kindLong, "86400000", 0, i64, nil, "log.cleaner.delete.retention.ms", obeyed,
			"How long compaction keeps tombstones, in milliseconds."},
		{"file.delete.delay.ms", kindLong, "60000", 0, i64, nil, "log.segment.delete.delay.ms", hint, noEffect},
		{"flush.messages", kindLong, maxInt64Text, 1, i64, nil, "log.flush.interval.messages", exceeded, moreThanThat},
		{"flush.ms", kindLong, maxInt64Text, 0, i64, nil, "log.flush.interval.ms", exceeded, moreThanThat},
		{"follower.replication.throttled.replicas", kindList, "", 0, 0, nil, "", exceeded, moreThanThat},
		{"index.interval.bytes", kindInt, "4096", 0, i32, nil, "log.index.interval.bytes", obeyed,
			"Bytes of log between two entries of the index."},
		{"leader.replication.throttled.replicas", kindList, "", 0, 0, nil, "", exceeded, moreThanThat},
		{"local.retention.bytes", kindLong, "-2", -2, i64, nil, "", exceeded, moreThanThat},
		{"local.retention.ms", kindLong, "-2", -2, i64, nil, "", exceeded, moreThanThat},
		{"max.compaction.lag.ms", kindLong, maxInt64Text, 1, i64, nil, "log.cleaner.max.compaction.lag.ms", obeyed,
			"A record is compacted at this age at the latest, in milliseconds, whatever the dirty ratio."},
		{"max.message.bytes", kindInt, strconv.Itoa(b.cfg.MaxBatchBytes), 0, i32, nil, "message.max.bytes", obeyed,
			"The largest batch that is taken, in bytes, compressed."},
		{"message.timestamp.after.max.ms", kindLong, "3600000", 0, i64, nil,
			"log.message.timestamp.after.max.ms", obeyed,
			"How far a record's timestamp may lie after the broker's clock, in milliseconds."},
		{"message.timestamp.before.max.ms", kindLong, maxInt64Text, 0, i64, nil,
			"log.message.timestamp.before.max.ms", obeyed,
			"How far a record's timestamp may lie before the broker's clock, in milliseconds."},
		{"message.timestamp.type", kindString, "CreateTime", 0, 0, []string{"CreateTime", "LogAppendTime"},
			"log.message.timestamp.type", obeyed,
			"Whose clock gives the timestamp of a record: the producer's or the broker's."},
		{"min.cleanable.dirty.ratio", kindDouble, "0.5", 0, 1, nil, "log.cleaner.min.cleanable.ratio", obeyed,
			"The share of a log that is compacted only when it has become that large."},
		{"min.compaction.lag.ms", kindLong, "0", 0, i64, nil, "log.cleaner.min.compaction.lag.ms", obeyed,
			"Younger records are not compacted, in milliseconds."},
		{"min.insync.replicas", kindInt, "1", 1, i32, nil, "min.insync.replicas", obeyed,
			"Replicas that acks=all asks for. There is one: with more, such records are refused."},
		{"preallocate", kindBool, "false", 0, 0, nil, "log.preallocate", hint, noEffect},
		{"remote.log.copy.disable", kindBool, "false", 0, 0, nil, "", exceeded, moreThanThat},
		{"remote.log.delete.on.disable", kindBool, "false", 0, 0, nil, "", exceeded, moreThanThat},
		{"remote.storage.enable", kindBool, "false", 0, 0, []string{"false"}, "", exceeded, moreThanThat},
		{"retention.bytes", kindLong, "-1", -1, i64, nil, "log.retention.bytes", obeyed,
			"Old segments of a partition are deleted beyond this size in bytes; -1 keeps all."},
		{"retention.ms", kindLong, "604800000", -1, i64, nil, "log.retention.ms", obeyed,
			"Older segments are deleted, in milliseconds; -1 keeps all."},
		{"segment.bytes", kindInt, strconv.Itoa(b.cfg.SegmentBytes), 1 << 20, i32, nil, "log.segment.bytes", obeyed,
			"The size of a segment's file in bytes."},
		{"segment.index.bytes", kindInt, "10485760", 4, i32, nil, "log.index.size.max.bytes", hint, noEffect},
		{"segment.jitter.ms", kindLong, "0", 0, i64, nil, "log.roll.jitter.ms", hint, noEffect},
		{"segment.ms", kindLong, "604800000", 1, i64, nil, "log.roll.ms", obeyed,
			"A segment takes no more records at this age, in milliseconds."},
		{"unclean.leader.election.enable", kindBool, "false", 0, 0, nil, "unclean.leader.election.enable",
			exceeded, moreThanThat},
	}
}

// forever is as long as a duration that is added to a time should be.
const forever = 100 * 365 * 24 * time.Hour

const (
	noEffect     = "Accepted for compatibility; it has no effect on this broker."
	moreThanThat = "Accepted for compatibility: a single node that syncs what it writes does more, or has no use for it."
)

func (b *broker) topicConfig(name string) *configKey { return configNamed(b.topicConfigs(), name) }

// configNamed finds a configuration in a table in the order of names.
func configNamed(table []configKey, name string) *configKey {
	i := sort.Search(len(table), func(i int) bool { return table[i].name >= name })
	if i == len(table) || table[i].name != name {
		return nil
	}
	return &table[i]
}

// check tells whether value is one that the configuration, which clients know by name, takes.
func (c *configDef) check(name, value string) error {
	refuse := func(why string) error {
		return &textError{kerr.InvalidConfig, fmt.Sprintf("Invalid value %s for configuration %s: %s", value, name, why)}
	}
	switch c.kind {
	case kindBool:
		if value != "true" && value != "false" {
			return refuse("expected true or false")
		}
	case kindInt, kindLong:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return refuse("not a number")
		}
		if float64(n) < c.min || float64(n) > c.max {
			return refuse(fmt.Sprintf("must be from %.0f to %.0f", c.min, c.max))
		}
	case kindDouble:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n >= c.min && n <= c.max) {
			return refuse(fmt.Sprintf("must be a number from %g to %g", c.min, c.max))
		}
	}
	if c.values == nil {
		return nil
	}
	for _, v := range c.elements(value) {
		if !slices.Contains(c.values, v) {
			return refuse("must be one of " + strings.Join(c.values, ", "))
		}
	}
	return nil
}

func (c *configDef) elements(value string) []string {
	if c.kind != kindList {
		return []string{value}
	}
	var elements []string
	for v := range strings.SplitSeq(value, ",") {
		if v = strings.TrimSpace(v); v != "" {
			elements = append(elements, v)
		}
	}
	return elements
}

// checkConfigs tells what is wrong with the configurations that are set on a resource. It can have those in keys;
// unknown is the error for others.
func (b *broker) checkConfigs(set map[string]string, keys []configKey, unknown func(names []string) error) error {
	var others []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		key := configNamed(keys, name)
		if key == nil {
			others = append(others, name)
			continue
		}
		if err := key.check(name, set[name]); err != nil {
			return err
		}
		b.mentionHint(key, name, set[name])
	}
	if others != nil {
		return unknown(others)
	}
	return nil
}

func (b *broker) checkTopicConfigs(set map[string]string) error {
	return b.checkConfigs(set, b.topicConfigs(), unknownTopicConfig)
}

func unknownTopicConfig(names []string) error { return unknownConfig("topic", names) }

func unknownConfig(kind string, names []string) error {
	return &textError{kerr.InvalidConfig, "Unknown " + kind + " config name: " + names[0]}
}

// mentionHint logs, once, that somebody sets what has no effect.
func (b *broker) mentionHint(c *configKey, name, value string) {
	if c.effect != hint || value == c.standard {
		return
	}
	if _, said := b.hints.LoadOrStore(name, true); !said {
		b.cfg.Logger.Info("broker: this configuration has no effect here; it is said once", "name", name, "value", value)
	}
}

// internalConfig is that of the broker's own logs. A full disk must leave room for the record of a deletion.
func internalConfig() log.Config {
	return log.Config{SegmentBytes: internalSegmentBytes, AheadBytes: 64 << 10}
}

// logConfig is what a topic's configurations mean to its logs.
func (b *broker) logConfig(t *meta.Topic) log.Config {
	if isInternal(t.Name) { // cut down to snapshots by the coordinators
		return internalConfig()
	}
	value := func(name string) string {
		if v, ok := t.Configs[name]; ok {
			return v
		}
		return b.topicConfig(name).standard
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(value(name), 10, 64)
		if err != nil {
			b.cfg.Logger.Error("broker: topic configuration", "topic", t.Name, "name", name, "err", err)
		}
		return n
	}
	millis := func(name string) time.Duration {
		switch n := number(name); {
		case n < 0:
			return -1
		case n == 0:
			return 1 // to the log, 0 means its default
		default:
			return time.Duration(min(n, forever.Milliseconds())) * time.Millisecond
		}
	}
	bound := func(name string) time.Duration { // 0 is none
		if d := millis(name); d < forever {
			return d
		}
		return 0
	}
	ratio, err := strconv.ParseFloat(value("min.cleanable.dirty.ratio"), 64)
	if err != nil {
		ratio = 0.5
	}
	policy := b.topicConfig("cleanup.policy").elements(value("cleanup.policy"))
	age, lag := millis("segment.ms"), bound("max.compaction.lag.ms")
	if lag > 0 && slices.Contains(policy, "compact") {
		age = min(age, lag) // only sealed segments are compacted
	}
	return log.Config{
		SegmentBytes: number("segment.bytes"), SegmentAge: age,
		RetentionBytes: number("retention.bytes"), RetentionAge: millis("retention.ms"),
		MaxBatchBytes: int(number("max.message.bytes")), IndexBytes: int(number("index.interval.bytes")),
		Compact: slices.Contains(policy, "compact"), Delete: slices.Contains(policy, "delete"),
		LogAppendTime:      value("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMax: bound("message.timestamp.before.max.ms"),
		TimestampAfterMax:  bound("message.timestamp.after.max.ms"),
		DeleteRetention:    millis("delete.retention.ms"), MinCleanable: ratio,
		MinCompactionLag: millis("min.compaction.lag.ms"), MaxCompactionLag: lag,
	}
}
