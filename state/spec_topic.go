package state

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// changelogSlack is added to the retention of a windowed changelog that a user bounds, and to the compaction lag of a
// versioned one, because topics count by the clock and stores by stream time.
const changelogSlack = 24 * time.Hour

// A changelog is read whole in a restore, so it is kept small: compaction begins when a quarter of it is new, and does
// not wait for large segments to fill, since the one that is written is never compacted.
const (
	changelogSegmentBytes = 32 << 20
	changelogDirtyRatio   = "0.25"
)

// Settings of topics that carry event time and must keep what is in them.
const (
	cleanupPolicy  = "cleanup.policy"
	retentionMS    = "retention.ms"
	retentionBytes = "retention.bytes"
	compactionLag  = "min.compaction.lag.ms"
	dirtyRatio     = "min.cleanable.dirty.ratio"
	segmentBytes   = "segment.bytes"
	forEver        = "-1"
	timestampType  = "message.timestamp.type"
	timestampAfter = "message.timestamp.after.max.ms"
	timestampPast  = "message.timestamp.before.max.ms"
	anyTime        = "9223372036854775807"
)

// EventTime are the settings of an internal topic without which records would be refused, or get another time, because
// of the time that they have.
func EventTime() map[string]string {
	return map[string]string{timestampType: "CreateTime", timestampAfter: anyTime, timestampPast: anyTime}
}

// needed is what the changelog needs for the store to come back as it was. What has expired in a store is deleted from
// its changelog by the application (Tx.Expiry): a broker would count by its clock, and the rows of a store whose
// stream time stands still, or which is filled with old events, are as old as they are.
func (s Spec) needed() map[string]string {
	config := EventTime()
	config[cleanupPolicy] = "compact"
	if s.Retention <= 0 && s.Kind != KindJoin { // the store keeps everything
		return config
	}
	switch s.Kind {
	case KindWindow, KindSession, KindJoin:
		config[cleanupPolicy] = "compact,delete" // delete: or records could not be deleted
		if s.Kind == KindJoin {
			config[cleanupPolicy] = "delete"
		}
		config[retentionMS], config[retentionBytes] = forEver, "-1"
	case KindVersioned:
		config[compactionLag] = s.clockRetention()
	}
	return config
}

// clockRetention is how long a record must be kept at least where a clock decides.
func (s Spec) clockRetention() string {
	return milliseconds(min(s.Retention, math.MaxInt64-changelogSlack) + changelogSlack)
}

// TopicConfig returns the configuration of the changelog topic: what the store needs, what the application sets for all
// of its topics, as far as the store allows it, and the store's own settings. The caller owns the map.
func (s Spec) TopicConfig(application map[string]string) map[string]string {
	config := s.needed()
	config[segmentBytes] = strconv.Itoa(changelogSegmentBytes)
	if s.Kind != KindJoin {
		config[dirtyRatio] = changelogDirtyRatio
	}
	for key, value := range application {
		if s.allows(key, value) == nil && key != retentionMS { // a store's own alone may bound its changelog
			config[key] = value
		}
	}
	for key, value := range s.Topic {
		if s.allows(key, value) == nil {
			config[key] = value
		}
	}
	return config
}

// checkTopic refuses own settings under which the changelog would lose what the store needs.
func (s Spec) checkTopic() error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(s.Topic)) {
		if err := s.allows(key, s.Topic[key]); err != nil {
			errs = append(errs, fmt.Errorf("store %q: changelog: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

// allows tells why a setting cannot be; nil: it can.
func (s Spec) allows(key, value string) error {
	need, ok := s.needed()[key]
	if !ok || value == need {
		return nil
	}
	switch key {
	case cleanupPolicy: // less may be deleted
		if s.Kind != KindJoin && strings.TrimSpace(value) == "compact" {
			return nil
		}
	case retentionMS, compactionLag:
		if s.Retention <= 0 {
			break
		}
		least := s.clockRetention()
		n, err := strconv.ParseInt(value, 10, 64)
		if l, _ := strconv.ParseInt(least, 10, 64); err == nil && n >= l {
			return nil
		}
		return fmt.Errorf("%s is %s, the store needs %s at least", key, value, least)
	}
	return fmt.Errorf("%s is %s, the store needs %s", key, value, need)
}
