// Package meta is the broker's metadata as a fold over the log __thalweg_metadata:
// topics with their ids, partition counts and configurations, and the configurations
// of brokers and groups.
//
//	key                value (JSON, so that people can read it; "v" is the version)
//	topic/<name>       {"v":1,"id":"<uuid>","partitions":4,"configs":{"cleanup.policy":"compact"}}   null = deleted
//	remove/<name>      {"v":1,"first":0,"end":4}   directories of these partitions are not, or no longer, a topic's:
//	                   they are removed; null = they are gone
//	broker/<name>      {"v":1,"configs":{"log.retention.ms":"60000"}}   changed at run time; the name is the broker's
//	                   id, or empty for the defaults of all brokers; null = none
//	group/<name>       {"v":1,"configs":{"consumer.session.timeout.ms":"50000"}}   null = none
//	producer-ids       was written by earlier versions, and is skipped
//	cluster            {"v":1,"id":"<text>"}
package meta

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
)

// Topic is one topic. It is never changed: a new value takes its place.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
	Configs    map[string]string // those that were set; defaults are not among them
}

// Removal says that the directories of partitions First up to End, without End, belong to no topic and are to be
// removed: those of a topic that was deleted, or of one that is being made. Partitions that the topic of that name has
// by now are not meant.
type Removal struct {
	Name       string
	First, End int32
}

// Resource is what has configurations without being a topic.
type Resource struct {
	Kind string // KindBroker or KindGroup
	Name string
}

// The kinds of resources.
const (
	KindBroker = "broker"
	KindGroup  = "group"
)

func (r Resource) key() string { return r.Kind + "/" + r.Name }

// Machine is the metadata. See coord.Machine.
type Machine struct {
	topics    map[string]*Topic
	configs   map[Resource]map[string]string
	removals  map[string]Removal
	clusterID string
}

// New returns an empty machine.
func New() *Machine {
	return &Machine{
		topics: make(map[string]*Topic), configs: make(map[Resource]map[string]string),
		removals: make(map[string]Removal),
	}
}

const (
	version       = 1
	topicPrefix   = "topic/"
	removePrefix  = "remove/"
	producerIDKey = "producer-ids"
	clusterKey    = "cluster"
)

type topicValue struct {
	Version    int               `json:"v"`
	ID         uuid.UUID         `json:"id"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
}

type configsValue struct {
	Version int               `json:"v"`
	Configs map[string]string `json:"configs"`
}

type removalValue struct {
	Version int   `json:"v"`
	First   int32 `json:"first"`
	End     int32 `json:"end"`
}

type clusterValue struct {
	Version int    `json:"v"`
	ID      string `json:"id"`
}

// Topics returns all topics. The map is the caller's, the topics are not.
func (m *Machine) Topics() map[string]*Topic {
	topics := make(map[string]*Topic, len(m.topics))
	for name, t := range m.topics {
		topics[name] = t
	}
	return topics
}

// ClusterID returns the cluster's name, empty before SetClusterID.
func (m *Machine) ClusterID() string { return m.clusterID }

// Removals returns what is to be removed, by topic name. The map is the caller's.
func (m *Machine) Removals() map[string]Removal { return maps.Clone(m.removals) }

// Configs returns the configurations that were set for a resource. Nobody changes the map.
func (m *Machine) Configs(r Resource) map[string]string { return m.configs[r] }

// Resources returns the resources of a kind that have configurations, in no order.
func (m *Machine) Resources(kind string) (names []string) {
	for r := range m.configs {
		if r.Kind == kind {
			names = append(names, r.Name)
		}
	}
	return names
}

// PutConfigs sets the configurations of a resource, in place of those that it has.
func (m *Machine) PutConfigs(r Resource, configs map[string]string) (step coord.Step, err error) {
	if len(configs) == 0 {
		step.Put([]byte(r.key()), nil)
		return step, nil
	}
	return put(r.key(), configsValue{version, configs})
}

// PutTopic makes or changes a topic.
func (m *Machine) PutTopic(t *Topic) (coord.Step, error) {
	return put(topicPrefix+t.Name, topicValue{version, t.ID, t.Partitions, t.Configs})
}

// Plan notes that partitions are about to be made: until they are a topic's, what is left of them is to be removed.
func (m *Machine) Plan(r Removal) (coord.Step, error) {
	return put(removePrefix+r.Name, removalValue{version, r.First, r.End})
}

// Grow is PutTopic at the end of a Plan.
func (m *Machine) Grow(t *Topic) (coord.Step, error) {
	step, err := m.PutTopic(t)
	step.Put([]byte(removePrefix+t.Name), nil)
	return step, err
}

// DeleteTopic removes a topic, and notes that its directories are to be removed.
func (m *Machine) DeleteTopic(t *Topic) (coord.Step, error) {
	step, err := put(removePrefix+t.Name, removalValue{version, 0, t.Partitions})
	step.Put([]byte(topicPrefix+t.Name), nil)
	return step, err
}

// Removed notes that the directories of a removal are gone.
func (m *Machine) Removed(name string) (step coord.Step) {
	step.Put([]byte(removePrefix+name), nil)
	return step
}

// SetClusterID names the cluster. The name never changes.
func (m *Machine) SetClusterID(id string) (coord.Step, error) {
	return put(clusterKey, clusterValue{version, id})
}

func put(key string, value any) (step coord.Step, err error) {
	b, err := json.Marshal(value)
	if err != nil {
		return step, fmt.Errorf("metadata: encode %s: %w", key, err)
	}
	step.Put([]byte(key), b)
	return step, nil
}

// Replay implements coord.Machine.
func (m *Machine) Replay(r coord.Record, _ *coord.Producer, _ time.Time) error {
	key := string(r.Key)
	name, isTopic := strings.CutPrefix(key, topicPrefix)
	doomed, isRemoval := strings.CutPrefix(key, removePrefix)
	resource, isResource := resourceOf(key)
	switch {
	case isTopic && r.Value == nil:
		delete(m.topics, name)
		return nil
	case isTopic:
		var v topicValue
		if err := decode(r, &v, &v.Version); err != nil {
			return err
		}
		m.topics[name] = &Topic{Name: name, ID: v.ID, Partitions: v.Partitions, Configs: v.Configs}
		return nil
	case isRemoval && r.Value == nil:
		delete(m.removals, doomed)
		return nil
	case isRemoval:
		var v removalValue
		if err := decode(r, &v, &v.Version); err != nil {
			return err
		}
		m.removals[doomed] = Removal{Name: doomed, First: v.First, End: v.End}
		return nil
	case isResource:
		var v configsValue
		delete(m.configs, resource)
		if r.Value == nil {
			return nil
		}
		if err := decode(r, &v, &v.Version); err != nil {
			return err
		}
		m.configs[resource] = v.Configs
		return nil
	case key == producerIDKey:
		return nil
	case key == clusterKey:
		var v clusterValue
		err := decode(r, &v, &v.Version)
		m.clusterID = v.ID
		return err
	default:
		return fmt.Errorf("metadata: record with key %q: unknown; was the directory written by a newer version?", key)
	}
}

// resourceOf is the inverse of Resource.key.
func resourceOf(key string) (Resource, bool) {
	kind, name, ok := strings.Cut(key, "/")
	return Resource{kind, name}, ok && (kind == KindBroker || kind == KindGroup)
}

func decode(r coord.Record, value any, got *int) error {
	if err := json.Unmarshal(r.Value, value); err != nil {
		return fmt.Errorf("metadata: record %q: %w", r.Key, err)
	}
	if *got != version {
		return fmt.Errorf("metadata: record %q: version %d, this program knows %d", r.Key, *got, version)
	}
	return nil
}

// ReplayMarker implements coord.Machine: there are no transactions here.
func (m *Machine) ReplayMarker(coord.Producer, bool) {}

// Snapshot implements coord.Machine.
func (m *Machine) Snapshot(emit func(coord.Record)) {
	emitStep := func(step coord.Step, err error) {
		if err == nil { // the values are ours: they have been encoded before
			emit(step.Records[0])
		}
	}
	for _, t := range m.topics {
		emitStep(m.PutTopic(t))
	}
	for r, configs := range m.configs {
		emitStep(m.PutConfigs(r, configs))
	}
	for _, r := range m.removals {
		emitStep(m.Plan(r))
	}
	if m.clusterID != "" {
		emitStep(m.SetClusterID(m.clusterID))
	}
}

// Deadline implements coord.Machine: nothing here depends on time.
func (m *Machine) Deadline() time.Time { return time.Time{} }

// Tick implements coord.Machine.
func (m *Machine) Tick(time.Time) (step coord.Step) { return step }
