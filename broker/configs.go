package broker

import (
	"errors"
	"fmt"
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
	exceeded               // a single node that forces what it writes already does more, or has no replicas for it
	hint                   // a matter of speed, space or format only: taken and shown, and said to have no effect
)

// topicConfig is one configuration that a topic may have. Those that are not obeyed are accepted because clients set
// them, and described so that they find what they set. What would mislead about data is refused by its values.
type topicConfig struct {
	name     string
	kind     kmsg.ConfigType
	standard string // the default
	min, max float64
	values   []string // allowed ones; for a list, of each element
	broker   string   // name of the broker's configuration that gives the default
	effect   effect
	doc      string
}

const (
	kindBool   = kmsg.ConfigTypeBoolean
	kindString = kmsg.ConfigTypeString
	kindInt    = kmsg.ConfigTypeInt
	kindLong   = kmsg.ConfigTypeLong
	kindDouble = kmsg.ConfigTypeDouble
	kindList   = kmsg.ConfigTypeList

	maxInt32Text = "2147483647"
	maxInt64Text = "9223372036854775807"
)

// topicConfigs returns the table of all topic configurations, in the order of their names, with this broker's defaults.
func (b *broker) topicConfigs() []topicConfig { return b.configTable }

// setTopicDefaults puts Config.TopicDefaults into the table.
func (b *broker) setTopicDefaults() error {
	b.configTable = b.standardTopicConfigs()
	var errs []error
	for name, value := range b.cfg.TopicDefaults {
		i := slices.IndexFunc(b.configTable, func(c topicConfig) bool { return c.name == name || c.broker == name })
		if i < 0 || name == "" {
			errs = append(errs, fmt.Errorf("broker: config: TopicDefaults: there is no topic configuration %q", name))
		} else if err := b.configTable[i].check(value); err != nil {
			errs = append(errs, fmt.Errorf("broker: config: TopicDefaults: %w", err))
		} else {
			b.configTable[i].standard = value
		}
	}
	return errors.Join(errs...)
}

func (b *broker) standardTopicConfigs() []topicConfig {
	codecs := []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}
	const i32, i64 = math.MaxInt32, math.MaxInt64
	return []topicConfig{
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
	moreThanThat = "Accepted for compatibility: a single node that forces what it writes does more, or has no use for it."
)

func (b *broker) topicConfig(name string) *topicConfig {
	table := b.topicConfigs()
	i := sort.Search(len(table), func(i int) bool { return table[i].name >= name })
	if i == len(table) || table[i].name != name {
		return nil
	}
	return &table[i]
}

// check tells whether value is one that the configuration takes.
func (c *topicConfig) check(value string) error {
	refuse := func(why string) error {
		return &textError{kerr.InvalidConfig, fmt.Sprintf("Invalid value %s for configuration %s: %s", value, c.name, why)}
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

func (c *topicConfig) elements(value string) []string {
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

// checkConfigs tells what is wrong with the configurations of a topic.
func (b *broker) checkConfigs(configs map[string]string) error {
	for name, value := range configs {
		c := b.topicConfig(name)
		if c == nil {
			return &textError{kerr.InvalidConfig, "Unknown topic config name: " + name}
		}
		if err := c.check(value); err != nil {
			return err
		}
		if c.effect == hint && value != c.standard {
			if _, said := b.hints.LoadOrStore(name, true); !said {
				b.cfg.Logger.Info("broker: this topic configuration has no effect here; it is said once", "name", name,
					"value", value)
			}
		}
	}
	return nil
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
