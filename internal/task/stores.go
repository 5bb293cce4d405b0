package task

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/topology"
)

// Stores are those of a task, and where their rows come from and their changes go.
type Stores struct {
	id       ID
	life     *life
	config   *Config
	env      *topology.Env
	tx       *state.Tx
	logs     []storeLog
	failures *failures // asked about what a restore cannot read
	decoder  *batch.Decoder
}

// storeLog is where a store's changes lie outside of the engine.
type storeLog struct {
	store  state.Store
	topic  string          // its changelog, or the topic that it is restored from; empty: none
	outlet topology.Outlet // nil: nothing is written
	// headers of the records that are written, which those that are read must have; not of tombstones
	headers []topology.Header
	input   *queue                             // of the topic that the store is restored from
	decode  func(*topology.SourceRecord) error // decodes a record of that topic; nil: it is a changelog
}

// Changelog is a partition that a store is restored from.
type Changelog struct {
	Store     string
	Topic     string
	Partition int32
	// Position is the offset to read from, where Known: the engine holds what lies before. Not known, the store is
	// empty and read from the start. A position below the topic's start means: [Stores.Wipe] first.
	Position int64
	Known    bool
	// Source tells that the topic is an input of the task: restoring ends at the committed offset of the input, not
	// at the topic's end.
	Source bool
}

// open opens the stores with their types, so that they can be restored before a node asks for them.
func (ss *Stores) open(queues *Queues) (g *global, err error) {
	for _, sub := range ss.config.Subs {
		if err := ss.openAll(sub, queues); err != nil {
			return nil, err
		}
		if sub.Global {
			if g, err = openGlobal(sub, queues, ss); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

func (ss *Stores) openAll(sub *topology.Subtopology, queues *Queues) error {
	for _, s := range sub.Stores {
		if ss.log(s.Name()) != nil {
			continue
		}
		if err := s.Prepare(ss.tx); err != nil {
			return fmt.Errorf("store %s: %w", s.Name(), err)
		}
		log := storeLog{store: s}
		if sub.Global {
			ss.logs = append(ss.logs, log)
			continue
		}
		if n, ok := sub.RestoredFrom(s.Name()); ok {
			log.topic = n.Topics[0].In(ss.config.ApplicationID)
			log.input = queues.find(log.topic, ss.id.Partition)
			if n.Decode != nil {
				log.decode = n.Decode(n)
			}
		} else if spec := s.Spec(); !spec.Volatile {
			log.topic = spec.ChangelogTopic(ss.config.ApplicationID)
			out, err := ss.config.Outbox.Outlet(log.topic)
			if err != nil {
				return fmt.Errorf("store %s: %w", s.Name(), err)
			}
			log.outlet = out
			if spec.Kind == state.KindSuppress {
				log.headers = suppressHeaders()
			}
		}
		ss.logs = append(ss.logs, log)
	}
	return nil
}

// suppressHeaders say in which form the rows of a suppression are: it is the third of Kafka Streams.
func suppressHeaders() []topology.Header { return []topology.Header{{Key: "v", Value: []byte{3}}} }

// checkHeaders refuses a record that has another form than what is written.
func (l *storeLog) checkHeaders(r *batch.Record) error {
	if len(l.headers) == 0 {
		return nil
	}
	found, err := r.Headers(nil)
	if err != nil {
		return err
	}
	for _, h := range l.headers {
		if !slices.ContainsFunc(found, func(f batch.Header) bool {
			return f.Key == h.Key && bytes.Equal(f.Value, h.Value)
		}) {
			return fmt.Errorf("the changelog record does not have the header %s=%x: it is of another version", h.Key, h.Value)
		}
	}
	return nil
}

func (ss *Stores) log(name string) *storeLog {
	for i := range ss.logs {
		if ss.logs[i].store.Name() == name {
			return &ss.logs[i]
		}
	}
	return nil
}

func (ss *Stores) has(name string) bool { return ss.log(name) != nil }

// Changelogs are the partitions that the stores are restored from, and how far the engine has them.
func (ss *Stores) Changelogs() ([]Changelog, error) {
	var logs []Changelog
	for _, s := range ss.logs {
		if s.topic == "" {
			continue
		}
		c := Changelog{Store: s.store.Name(), Topic: s.topic, Partition: ss.id.Partition, Source: s.input != nil}
		var err error
		if c.Position, c.Known, err = ss.tx.Position(c.Store); err != nil {
			return nil, fmt.Errorf("task %s: store %s: position: %w", ss.id, c.Store, err)
		}
		logs = append(logs, c)
	}
	return logs, nil
}

// Wipe empties a store, which is then restored from the start of its changelog.
func (ss *Stores) Wipe(store string) error {
	if err := ss.life.in("wipe", Created, Standby, Restoring); err != nil {
		return err
	}
	if err := ss.tx.Wipe(store); err != nil {
		return fmt.Errorf("task %s: store %s: wipe: %w", ss.id, store, err)
	}
	return nil
}

// flush lets the stores tell what has changed. Where nodes are guarded what panics is no node, but a serde.
func (ss *Stores) flush() (err error) {
	if ss.env.Guarded {
		defer func() {
			if v := recover(); v != nil {
				err = serdePanicked(v)
			}
		}()
	}
	return ss.tx.Flush()
}

// drain hands the changes of the stores to their changelogs. They come store by store.
func (ss *Stores) drain() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = serdePanicked(v)
		}
	}()
	var last string
	var log *storeLog
	return ss.tx.Drain(func(s state.Store, key, value []byte, timestamp int64) error {
		if name := s.Name(); log == nil || name != last {
			last, log = name, ss.log(name)
		}
		if log == nil || log.outlet == nil {
			return nil
		}
		var headers []topology.Header
		if value != nil {
			headers = log.headers
		}
		if err := log.outlet.Append(ss.id.Partition, timestamp, key, value, headers); err != nil {
			return log.refusedBy(err, key)
		}
		return nil
	})
}

// commit tells that what was drained last is durable. position is the next offset of a store's changelog; nil: there
// are no changelogs.
func (ss *Stores) commit(position func(store string) int64) error {
	return ss.tx.Commit(func(store string) int64 {
		if log := ss.log(store); log != nil && log.input != nil {
			return log.input.sealed.next
		}
		if position == nil {
			return -1
		}
		return position(store)
	})
}

// outputs are the topics that the task writes to.
func (ss *Stores) outputs() (topics []string) {
	for _, log := range ss.logs {
		if log.outlet != nil {
			topics = append(topics, log.topic)
		}
	}
	for _, sub := range ss.config.Subs {
		for _, out := range sub.Outputs {
			topics = append(topics, out.In(ss.config.ApplicationID))
		}
	}
	return topics
}

// serdePanicked is the error of a panic in a store that encodes, which the deferred function that calls it recovered.
func serdePanicked(v any) error {
	p := topology.NewPanic(v)
	if topology.Broken(p) {
		return fmt.Errorf("%w\n%s", p, p.Stack)
	}
	return &state.Refusal{Err: fmt.Errorf("a store's serde: %w", p), Stack: p.Stack}
}

// refusedBy makes a record that is too large for a changelog the refusal of its row.
func (l *storeLog) refusedBy(err error, key []byte) error {
	large, ok := errors.AsType[*TooLarge](err)
	if !ok {
		return err
	}
	large.Key = nil // which is the row's
	return &state.Refusal{Store: l.store.Name(), Key: append([]byte{}, key...), Large: true, Err: err}
}
