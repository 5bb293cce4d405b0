package state

import (
	"cmp"
	"fmt"
	"slices"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Stored is one partition of a store in an engine.
type Stored struct {
	Store     string
	Partition int32 // of its task; -1: the store is a global one
	Saved
	// Lower and Upper bound its keys: [Lower, Upper).
	Lower, Upper []byte
}

// ReadStored returns what an engine has of all stores of all applications, in the order of partitions and names.
func ReadStored(e engine.Reader) ([]Stored, error) {
	it, err := e.Iterate(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("read what is stored: %w", err)
	}
	defer it.Close() //nolint:errcheck // nothing was written
	var all []Stored
	for ok := it.First(); ok; {
		partition, store, err := layout.SplitStore(it.Key())
		if err != nil {
			return nil, fmt.Errorf("read what is stored: %w", err)
		}
		prefix := layout.Store(nil, layout.Namespace(partition), store)
		s := Stored{
			Store: store, Partition: partition, Lower: prefix, Upper: layout.StoreEnd(nil, prefix),
		}
		if s.Saved, err = ReadSaved(e, layout.Namespace(partition), store); err != nil {
			return nil, fmt.Errorf("partition %d: %w", partition, err)
		}
		all = append(all, s)
		ok = it.SeekGE(s.Upper)
	}
	slices.SortFunc(all, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Store, b.Store))
	})
	return all, it.Error()
}
