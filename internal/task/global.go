package task

import (
	"fmt"
	"slices"
	"strings"

	"thalweg/state"
	"thalweg/topology"
)

// A global sub-topology fills stores that every task of the process may read. Its task reads all partitions of its
// inputs. No group knows it: how far it is lies beside its rows, in a store of its own that goes to the engine with
// them. The store has
//
//	topic/partition   → next offset; the row's timestamp is the partition time
//	a store's name    → 0, for each store that was filled up to there
type globalOffsets = state.KV[string, int64]

// offsetsOf names the store of the offsets.
func offsetsOf(s *topology.Subtopology) globalOffsets {
	return state.NewKV[string, int64](GlobalOffsets(s.Stores[0].Name())).Volatile()
}

const globalOffsetsPrefix = "global-offsets."

// GlobalOffsets is the name of the store that keeps the offsets of a global sub-topology, given its first store.
func GlobalOffsets(store string) string { return globalOffsetsPrefix + store }

// IsGlobalOffsets tells whether a store in the global namespace keeps offsets.
func IsGlobalOffsets(store string) bool { return strings.HasPrefix(store, globalOffsetsPrefix) }

// openGlobal opens the stores and goes to where they are. Stores that were filled from something else, or one more
// than before, are filled from the beginning.
func (t *Task) openGlobal(sub *topology.Subtopology) (err error) {
	if len(sub.Stores) == 0 {
		return fmt.Errorf("global sub-topology %d has no store: there is nothing to fill", sub.ID)
	}
	for _, s := range sub.Stores {
		if err := s.Prepare(t.tx); err != nil {
			return fmt.Errorf("store %s: %w", s.Name(), err)
		}
		t.stores = append(t.stores, storeLog{store: s})
	}
	if t.kept, err = offsetsOf(sub).Open(t.tx); err != nil {
		return err
	}
	t.Retries.none = true
	t.setStrict(false) // which a global task always is: it goes back to nothing
	unseen, some := map[string]bool{}, false
	for _, s := range sub.Stores {
		unseen[s.Name()] = true
	}
	for e, err := range t.kept.All() {
		if err != nil {
			return err
		}
		some = true
		if unseen[e.Key] {
			delete(unseen, e.Key)
		} else if q := t.Queues.named(e.Key); q != nil {
			q.next, q.fetched, q.partitionTime = e.Value, e.Value, e.Timestamp
			q.commit()
		} else {
			unseen[e.Key] = true // of another topic
		}
	}
	if some && len(unseen) > 0 {
		return t.StartOver()
	}
	return nil
}

// name is what the offset of an input is kept under.
func (q *queue) name() string { return fmt.Sprintf("%s/%d", q.head.Topic, q.head.Partition) }

func (qs *Queues) named(name string) *queue {
	for _, q := range qs.list {
		if q.name() == name {
			return q
		}
	}
	return nil
}

// StartOver empties the stores of a global sub-topology, which then has to be fed from the start of its inputs. It is
// for offsets that the inputs do not have any more.
func (t *Task) StartOver() error {
	if err := t.life.in("start over", Created); err != nil {
		return err
	}
	for _, s := range slices.Backward(t.tx.Stores()) { // the offsets first: they must never be ahead of the rows
		if err := t.tx.Wipe(s.Name()); err != nil {
			return fmt.Errorf("task %s: store %s: wipe: %w", t.id, s.Name(), err)
		}
	}
	for _, q := range t.Queues.list {
		q.next, q.fetched, q.partitionTime = topology.Unknown, topology.Unknown, topology.Unknown
		q.commit()
	}
	return nil
}

// keepOffsets writes down where a global sub-topology is.
func (t *Task) keepOffsets() error {
	if t.kept == nil || !t.Queues.Moved() {
		return nil
	}
	for _, q := range t.Queues.list {
		if q.moved() {
			if err := t.kept.Put(q.name(), q.next, q.partitionTime); err != nil {
				return err
			}
		}
	}
	for _, s := range t.stores {
		if err := t.kept.Put(s.store.Name(), 0, 0); err != nil {
			return err
		}
	}
	return nil
}
