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

// global is where the task of a global sub-topology keeps how far it is. Other tasks have none.
type global struct {
	queues  *Queues
	stores  *Stores
	offsets *state.KVStore[string, int64]
}

// openGlobal opens the store of the offsets and goes to where the stores are, which are open. Stores that were filled
// from something else, or one more than before, are filled from the beginning.
func openGlobal(sub *topology.Subtopology, queues *Queues, stores *Stores) (*global, error) {
	if len(sub.Stores) == 0 {
		return nil, fmt.Errorf("global sub-topology %d has no store: there is nothing to fill", sub.ID)
	}
	g := &global{queues: queues, stores: stores}
	var err error
	if g.offsets, err = offsetsOf(sub).Open(stores.tx); err != nil {
		return nil, err
	}
	unseen, some := map[string]bool{}, false
	for _, s := range sub.Stores {
		unseen[s.Name()] = true
	}
	for e, err := range g.offsets.All() {
		if err != nil {
			return nil, err
		}
		some = true
		if unseen[e.Key] {
			delete(unseen, e.Key)
		} else if q := queues.named(e.Key); q != nil {
			q.next, q.fetched, q.partitionTime = e.Value, e.Value, e.Timestamp
			q.commit()
		} else {
			unseen[e.Key] = true // of another topic
		}
	}
	if some && len(unseen) > 0 {
		return g, g.startOver()
	}
	return g, nil
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

// startOver empties the stores.
func (g *global) startOver() error {
	for _, s := range slices.Backward(g.stores.tx.Stores()) { // the offsets first: they must never be ahead of the rows
		if err := g.stores.Wipe(s.Name()); err != nil {
			return err
		}
	}
	for _, q := range g.queues.list {
		q.next, q.fetched, q.partitionTime = topology.Unknown, topology.Unknown, topology.Unknown
		q.commit()
	}
	return nil
}

// keep writes down how far the task is.
func (g *global) keep() error {
	if g == nil || !g.queues.Moved() {
		return nil
	}
	for _, q := range g.queues.list {
		if q.moved() {
			if err := g.offsets.Put(q.name(), q.next, q.partitionTime); err != nil {
				return err
			}
		}
	}
	for _, s := range g.stores.logs {
		if err := g.offsets.Put(s.store.Name(), 0, 0); err != nil {
			return err
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
	return t.global.startOver()
}
