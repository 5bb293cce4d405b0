package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/state"
)

// An older build kept the times of the last sync in a file, by task:
//
//	<Config.State.Dir>/<application>/used     JSON: task, or "global " and a store → milliseconds since the epoch
//
// They go to the positions that have none, and the file is removed.

// usedTimes reads the file. The function that it returns tells the time of a store, or zero; nil: there is no file.
func usedTimes(fs vfs.FS, dir string) (func(state.Stored) time.Time, error) {
	text, err := readFile(fs, fs.PathJoin(dir, "used"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	used := map[string]int64{}
	if json.Unmarshal([]byte(text), &used) != nil {
		used = nil // what is not known counts as long ago
	}
	subs, err := notedStores(fs, fs.PathJoin(dir, "stores"))
	if err != nil {
		return nil, err
	}
	return func(s state.Stored) time.Time {
		sub, known := subs[s.Store]
		name := "global " + s.Store
		if sub >= 0 {
			name = TaskID{sub, s.Partition}.String()
		}
		if at := used[name]; known && at > 0 && (sub < 0) == (s.Partition < 0) {
			return time.UnixMilli(at)
		}
		return time.Time{}
	}, nil
}

// takeOverUsed comes before the file `stores`, by which tasks are numbered, is written again.
func (h *home) takeOverUsed(fs vfs.FS) error {
	timeOf, err := usedTimes(fs, h.dir)
	if err != nil || timeOf == nil {
		return err
	}
	stored, err := state.ReadStored(h.engine)
	if err != nil {
		return err
	}
	for _, s := range stored {
		at := timeOf(s)
		if at.IsZero() || !s.Synced.IsZero() || !s.Known && !s.Named {
			continue
		}
		if err := state.MarkSaved(h.engine, state.Namespace(s.Partition), s.Store, at); err != nil {
			return fmt.Errorf("partition %d: %w", s.Partition, err)
		}
	}
	if err := h.engine.Flush(); err != nil {
		return err
	}
	return fs.Remove(fs.PathJoin(h.dir, "used"))
}
