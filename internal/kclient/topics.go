package kclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics makes and changes topics, and tells what the broker knows about them.
type Topics struct {
	cfg      Config
	client   *kgo.Client
	admin    *kadm.Client
	metadata *metadata
	log      *slog.Logger
	// singleReplica says once that settings for replicas are left out.
	singleReplica sync.Once
}

// TopicSpec is a topic that has to exist.
type TopicSpec struct {
	Name       string
	Partitions int32
	// Replicas is the replication factor for a topic that is made; 0 means the broker's default.
	Replicas int16
	// Config is set on a topic that is made. Of one that exists see Topics.Ensure.
	Config map[string]string
	// Most are numbers up to which settings are good. Where the broker allows it the topic has no higher ones.
	Most map[string]string
}

const (
	cleanupPolicy     = "cleanup.policy"
	minInsyncReplicas = "min.insync.replicas"
	timestampType     = "message.timestamp.type"
	timestampAfter    = "message.timestamp.after.max.ms"
	timestampBefore   = "message.timestamp.before.max.ms"
	retentionMS       = "retention.ms"
	retentionBytes    = "retention.bytes"
)

// List returns what the broker tells about topics.
func (t *Topics) List(ctx context.Context, names ...string) (details kadm.TopicDetails, err error) {
	err = retry(ctx, t.cfg.RetryTimeout, "list topics", nil, func(ctx context.Context) (err error) {
		details, err = t.admin.ListTopics(ctx, names...)
		return err
	})
	return details, err
}

// Ensure makes the topics that are missing and checks those that exist: their partition count, that their
// cleanup.policy loses nothing that is to be kept, and that records keep their times. Settings that refuse records of a
// time, or delete them at an age, where the topology needs them, are raised, and those of Most are lowered; where that
// is not allowed the log says so.
// Nothing else of a topic is changed. All that is wrong is in the error.
func (t *Topics) Ensure(ctx context.Context, specs []TopicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Name
	}
	resp, err := t.ask(ctx, names)
	if err != nil {
		return err
	}
	answers := map[string]error{}
	for i := range resp.Topics {
		if topic := &resp.Topics[i]; topic.Topic != nil {
			answers[*topic.Topic] = kerr.ErrorForCode(topic.ErrorCode)
		}
	}
	var check []TopicSpec
	var errs []error
	for _, spec := range specs {
		answer, ok := answers[spec.Name]
		switch {
		case ok && answer == nil, errors.Is(answer, kerr.LeaderNotAvailable): // somebody else is making it
			check = append(check, spec)
		case !ok || errors.Is(answer, kerr.UnknownTopicOrPartition):
			made, err := t.create(ctx, "internal topic", spec)
			switch {
			case err != nil:
				errs = append(errs, err)
			case made:
				t.log.Info("topic made", "topic", spec.Name, "partitions", spec.Partitions, "config", spec.Config)
			default:
				check = append(check, spec)
			}
		default:
			errs = append(errs, fmt.Errorf("kclient: internal topic %q: %w%s", spec.Name, answer, advice(answer)))
		}
	}
	if len(check) > 0 {
		errs = append(errs, t.check(ctx, check))
	}
	return errors.Join(errs...)
}

// Create makes topics and returns those that it made: the others are there already, as they may be.
func (t *Topics) Create(ctx context.Context, specs []TopicSpec) (made []TopicSpec, err error) {
	var errs []error
	for _, spec := range specs {
		own, err := t.create(ctx, "topic", spec)
		if err != nil {
			errs = append(errs, err)
		} else if own {
			made = append(made, spec)
		}
	}
	return made, errors.Join(errs...)
}

// create tells whether it made the topic: somebody else may be first.
func (t *Topics) create(ctx context.Context, kind string, spec TopicSpec) (made bool, err error) {
	config := make(map[string]*string, len(spec.Config))
	for k, v := range spec.Config {
		if k == minInsyncReplicas && v != "1" && t.cfg.Broker != nil {
			// For a cluster: here there is one replica, and every record would be refused.
			t.singleReplica.Do(func() {
				t.log.Warn("left out: the embedded broker is the only replica", "config", k, "value", v)
			})
			continue
		}
		config[k] = kadm.StringPtr(v)
	}
	for k, v := range spec.Most {
		config[k] = kadm.StringPtr(v)
	}
	replicas := spec.Replicas
	if replicas == 0 {
		replicas = -1
	}
	what := fmt.Sprintf("create %s %q with %d partitions", kind, spec.Name, spec.Partitions)
	create := func(ctx context.Context) error {
		made, err := t.admin.CreateTopic(ctx, spec.Partitions, replicas, config, spec.Name)
		return refusedTopic(err, made.ErrMessage, config)
	}
	err = retry(ctx, t.cfg.RetryTimeout, what, nil, create)
	if isRefused(err) && len(spec.Most) > 0 { // some hosted brokers have limits of their own
		for k := range spec.Most {
			delete(config, k)
		}
		err = retry(ctx, t.cfg.RetryTimeout, what, nil, create)
	}
	if errors.Is(err, kerr.InvalidConfig) && config[timestampAfter] != nil {
		delete(config, timestampAfter) // Apache Kafka knows them since 3.6; before, it bounds no times
		delete(config, timestampBefore)
		if again := retry(ctx, t.cfg.RetryTimeout, what, nil, create); !errors.Is(again, kerr.InvalidConfig) {
			err = again
		}
	}
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, t.await(ctx, spec.Name)
}

// isRefused tells whether an error is about a topic's settings.
func isRefused(err error) bool {
	return errors.Is(err, kerr.InvalidConfig) || errors.Is(err, kerr.PolicyViolation)
}

// refusedTopic adds what the broker says to its refusal of a topic, and the settings that were asked for: some brokers
// say nothing.
func refusedTopic(err error, message string, config map[string]*string) error {
	if err != nil && message != "" {
		err = fmt.Errorf("%w: %s", err, message)
	}
	if !isRefused(err) {
		return err
	}
	settings := make([]string, 0, len(config))
	for _, key := range slices.Sorted(maps.Keys(config)) {
		settings = append(settings, key+"="+*config[key])
	}
	return fmt.Errorf("%w (the settings are %s): change them in Config.Topics.Config, or in those of the store", err,
		strings.Join(settings, ", "))
}

// await waits until the metadata shows a new topic: the brokers of a cluster learn of it one after the other.
func (t *Topics) await(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errRetryTimeout)
	defer cancel()
	for pause := newBackoff(); ; {
		failed, err := t.metadata.refresh(ctx, []string{name})
		if err == nil && t.metadata.ready(name) {
			return nil
		}
		if waitErr := pause.wait(ctx); waitErr != nil {
			return fmt.Errorf("kclient: topic %q was made but has no leaders: %w",
				name, errors.Join(waitErr, err, failed[name]))
		}
	}
}

func (t *Topics) check(ctx context.Context, specs []TopicSpec) error {
	var errs []error
	var names []string
	for _, spec := range specs {
		n, err := t.partitionsNow(ctx, spec.Name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case n != spec.Partitions:
			errs = append(errs, &PartitionsError{spec.Name, n, spec.Partitions})
		default:
			names = append(names, spec.Name)
		}
	}
	if len(names) == 0 {
		return errors.Join(errs...)
	}
	var configs kadm.ResourceConfigs
	err := retry(ctx, t.cfg.RetryTimeout, "describe internal topics", nil, func(ctx context.Context) (err error) {
		configs, err = t.admin.DescribeTopicConfigs(ctx, names...)
		return err
	})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, spec := range specs {
		config, err := configs.On(spec.Name, nil)
		if err != nil || config.Err != nil {
			continue // partition count was wrong, or the broker does not tell: some hosted ones don't
		}
		errs = append(errs, checkCleanup(spec, config), checkTimes(spec, config))
		t.raiseBounds(ctx, spec, config)
		t.lower(ctx, spec, config)
	}
	return errors.Join(errs...)
}

// partitionsNow asks for the partition count of a topic that is there. Somebody else may have made it a moment ago, and
// the broker that answers not know of it yet.
func (t *Topics) partitionsNow(ctx context.Context, topic string) (n int32, err error) {
	t.metadata.forget(topic)
	what := fmt.Sprintf("partitions of topic %q", topic)
	err = retry(ctx, t.cfg.RetryTimeout, what, nil, func(ctx context.Context) (err error) {
		n, err = t.metadata.partitions(ctx, topic)
		return err
	})
	return n, err
}

// checkCleanup refuses a policy that deletes what is to be kept, or keeps only the last value where every record
// counts.
func checkCleanup(spec TopicSpec, config kadm.ResourceConfig) error {
	want, ok := spec.Config[cleanupPolicy]
	if !ok {
		return nil
	}
	for _, c := range config.Configs {
		if c.Key != cleanupPolicy || c.Value == nil {
			continue
		}
		has, wants := policies(*c.Value), policies(want)
		for _, p := range []string{"compact", "delete"} {
			if slices.Contains(has, p) && !slices.Contains(wants, p) {
				return fmt.Errorf("kclient: internal topic %q has %s=%s, the topology needs %s: set it so (kafka-configs --alter)",
					spec.Name, cleanupPolicy, *c.Value, want)
			}
		}
	}
	return nil
}

// checkTimes refuses a topic that gives records another time than they have.
func checkTimes(spec TopicSpec, config kadm.ResourceConfig) error {
	want, ok := spec.Config[timestampType]
	for _, c := range config.Configs {
		if ok && c.Key == timestampType && c.Value != nil && *c.Value != want {
			return fmt.Errorf("kclient: internal topic %q has %s=%s, the topology needs %s, since its records carry the time "+
				"of events: set it so (kafka-configs --alter)", spec.Name, timestampType, *c.Value, want)
		}
	}
	return nil
}

// bounds are settings below which a topic loses or refuses records. -1 is none.
var bounds = []string{timestampAfter, timestampBefore, retentionMS, retentionBytes}

// raiseBounds sets what a topic that exists bounds more narrowly than the topology needs.
func (t *Topics) raiseBounds(ctx context.Context, spec TopicSpec, config kadm.ResourceConfig) {
	var changes []kadm.AlterConfig
	var has, needs []string
	for _, set := range config.Configs {
		want, ok := spec.Config[set.Key]
		if !ok || set.Value == nil || !slices.Contains(bounds, set.Key) || !narrower(*set.Value, want) {
			continue
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: set.Key, Value: kadm.StringPtr(want)})
		has, needs = append(has, set.Key+"="+*set.Value), append(needs, set.Key+"="+want)
	}
	if len(changes) == 0 {
		return
	}
	err := t.alter(ctx, spec.Name, changes)
	if err != nil {
		t.log.Warn("an internal topic may lose or refuse records, and its settings can't be changed: set them "+
			"(kafka-configs --alter)", "topic", spec.Name, "has", has, "needs", needs, "err", err)
		return
	}
	t.log.Info("settings of an internal topic changed, which might have lost or refused records", "topic", spec.Name,
		"before", has, "now", needs)
}

func (t *Topics) alter(ctx context.Context, topic string, changes []kadm.AlterConfig) error {
	what := fmt.Sprintf("alter internal topic %q", topic)
	return retry(ctx, t.cfg.RetryTimeout, what, nil, func(ctx context.Context) error {
		altered, err := t.admin.AlterTopicConfigs(ctx, changes, topic)
		if err != nil {
			return err
		}
		_, err = altered.On(topic, func(r *kadm.AlterConfigsResponse) error {
			if r.Err != nil && r.ErrMessage != "" {
				return fmt.Errorf("%w: %s", r.Err, r.ErrMessage)
			}
			return r.Err
		})
		return err
	})
}

// lower sets what is higher than it is good for: an earlier build may have made the topic.
func (t *Topics) lower(ctx context.Context, spec TopicSpec, config kadm.ResourceConfig) {
	var changes []kadm.AlterConfig
	for _, set := range config.Configs {
		if most, ok := spec.Most[set.Key]; ok && set.Value != nil && narrower(most, *set.Value) {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: set.Key, Value: kadm.StringPtr(most)})
		}
	}
	if len(changes) == 0 {
		return
	}
	if err := t.alter(ctx, spec.Name, changes); err != nil {
		t.log.Info("settings of an internal topic can't be lowered: starts may take longer (kafka-configs --alter)",
			"topic", spec.Name, "settings", spec.Most, "err", err)
	}
}

// narrower tells whether a bound allows less than another.
func narrower(has, want string) bool {
	h, err := strconv.ParseInt(has, 10, 64)
	w, wantErr := strconv.ParseInt(want, 10, 64)
	return err == nil && wantErr == nil && h != -1 && (w == -1 || h < w)
}

func policies(value string) []string {
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// deletionPartitionsMax bounds the partitions of one request to delete records, which a broker answers when all are
// done: it may have to remove files for each.
const deletionPartitionsMax = 500

// DeleteRecords drops what lies before the given offsets: what a repartition topic holds and every reader has
// committed. The error names every partition that failed; the others are done, unless a whole request fails: then those
// behind it are not asked for.
func (t *Topics) DeleteRecords(ctx context.Context, before map[TopicPartition]int64) error {
	var errs []error
	for tps := range slices.Chunk(slices.SortedFunc(maps.Keys(before), CompareTopicPartitions), deletionPartitionsMax) {
		offsets := make(kadm.Offsets)
		for _, tp := range tps {
			offsets.AddOffset(tp.Topic, tp.Partition, before[tp], -1)
		}
		failed, err := t.deleteRecords(ctx, offsets)
		errs = append(errs, failed)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

// deleteRecords makes one request. failed names the partitions that failed.
func (t *Topics) deleteRecords(ctx context.Context, offsets kadm.Offsets) (failed, err error) {
	resp, err := t.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return nil, classified(fmt.Errorf("kclient: delete records: %w", err))
	}
	var errs []error
	resp.Each(func(r kadm.DeleteRecordsResponse) {
		if r.Err != nil {
			tp := TopicPartition{r.Topic, r.Partition}
			errs = append(errs, fmt.Errorf("kclient: delete records of %s: %w%s", tp, r.Err, advice(r.Err)))
		}
	})
	return errors.Join(errs...), nil
}
