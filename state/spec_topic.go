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

// changelogSlack is added to the retention of a windowed changelog, because topics expire by the clock and stores by
// stream time.
const changelogSlack = 24 * time.Hour

// Settings of topics that carry event time and must keep what is in them.
const (
	cleanupPolicy  = "cleanup.policy"
	retentionMS    = "retention.ms"
	retentionBytes = "retention.bytes"
	compactionLag  = "min.compaction.lag.ms"
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

// needed is what the changelog needs for the store to come back as it was.
func (s Spec) needed() map[string]string {
	config := EventTime()
	config[cleanupPolicy] = "compact"
	keep := milliseconds(min(s.Retention, math.MaxInt64-changelogSlack) + changelogSlack)
	switch s.Kind {
	case KindWindow, KindSession, KindJoin:
		config[cleanupPolicy] = "compact,delete"
		if s.Kind == KindJoin {
			config[cleanupPolicy] = "delete"
		}
		config[retentionMS], config[retentionBytes] = keep, "-1"
	case KindVersioned:
		config[compactionLag] = keep
	}
	return config
}

// TopicConfig returns the configuration of the changelog topic: what the store needs, what the application sets for all
// of its topics, as far as the store allows it, and the store's own settings. The caller owns the map.
func (s Spec) TopicConfig(application map[string]string) map[string]string {
	config := s.needed()
	for _, settings := range []map[string]string{application, s.Topic} {
		for key, value := range settings {
			if s.allows(key, value) == nil {
				config[key] = value
			}
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
		least, _ := strconv.ParseInt(need, 10, 64)
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && (n >= least || key == retentionMS && n == -1) {
			return nil
		}
		return fmt.Errorf("%s is %s, the store needs %s at least", key, value, need)
	}
	return fmt.Errorf("%s is %s, the store needs %s", key, value, need)
}
