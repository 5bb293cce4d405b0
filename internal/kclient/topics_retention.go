package kclient

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const deleteRetentionMS = "delete.retention.ms"

// DeleteRetentions returns how long topics keep tombstones after a compaction has met them first (delete.retention.ms).
// A topic of which the broker does not tell is left out: it is not there, or this client may not describe it.
func (t *Topics) DeleteRetentions(ctx context.Context, topics ...string) (map[string]time.Duration, error) {
	retentions := map[string]time.Duration{}
	err := t.describe(ctx, topics, []string{deleteRetentionMS}, func(topic string, config map[string]string) {
		if ms, err := strconv.ParseInt(config[deleteRetentionMS], 10, 64); err == nil && ms >= 0 {
			retentions[topic] = time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
		}
	})
	return retentions, err
}

// RetentionLimits returns the settings by which a broker itself deletes records from topics by age or size, for people:
// "retention.ms=60000". Empty: it keeps all. A topic of which the broker does not tell is left out.
func (t *Topics) RetentionLimits(ctx context.Context, topics ...string) (map[string]string, error) {
	limits := map[string]string{}
	keys := []string{"retention.ms", "retention.bytes"}
	err := t.describe(ctx, topics, keys, func(topic string, config map[string]string) {
		var some []string
		for _, key := range keys {
			switch value, told := config[key]; {
			case !told:
				return
			case value != "-1":
				some = append(some, key+"="+value)
			}
		}
		limits[topic] = strings.Join(some, ", ")
	})
	return limits, err
}

// CleanupPolicies returns what deletes the records of topics (cleanup.policy), such as "compact,delete". A topic of
// which the broker does not tell is left out.
func (t *Topics) CleanupPolicies(ctx context.Context, topics ...string) (map[string]string, error) {
	policies := map[string]string{}
	err := t.describe(ctx, topics, []string{cleanupPolicy}, func(topic string, config map[string]string) {
		if policy, told := config[cleanupPolicy]; told {
			policies[topic] = policy
		}
	})
	return policies, err
}

// describe calls take with the values of some settings, for each topic that can be described.
func (t *Topics) describe(
	ctx context.Context, topics, keys []string, take func(topic string, config map[string]string),
) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, topic := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
		r.ConfigNames = keys
		req.Resources = append(req.Resources, r)
	}
	_, err := request(ctx, t.cfg.RetryTimeout, "describe topics", nil,
		func(ctx context.Context) (*kmsg.DescribeConfigsResponse, error) {
			return req.RequestWith(ctx, t.client)
		},
		func(resp *kmsg.DescribeConfigsResponse) error { return takeConfigs(resp, take) })
	return err
}

func takeConfigs(resp *kmsg.DescribeConfigsResponse, take func(topic string, config map[string]string)) error {
	for i := range resp.Resources {
		r := &resp.Resources[i]
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			if isRetriable(err) && !isUnknownTopic(err) {
				return err
			}
			continue
		}
		config := map[string]string{}
		for _, c := range r.Configs {
			if c.Value != nil {
				config[c.Name] = *c.Value
			}
		}
		take(r.ResourceName, config)
	}
	return nil
}
