package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/topology"
)

// noteStores writes down which stores the program has. The rows of the engine can then be named without the program:
//
//	<Config.State.Dir>/<application>/stores   JSON: store → its sub-topology, -1: a global store
func noteStores(fs vfs.FS, path string, topo *topology.Topology) error {
	stores := map[string]int{}
	for _, s := range slices.Concat(topo.Subtopologies(), topo.Globals()) {
		for _, st := range s.Stores {
			switch {
			case st.Spec().InMemory:
			case s.Global:
				stores[st.Name()] = -1
			default:
				stores[st.Name()] = s.ID
			}
		}
	}
	text, err := json.Marshal(stores)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch old, err := readFile(fs, path); {
	case err == nil && old == string(text):
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := replaceFile(fs, path, string(text)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// notedStores reads which stores the program had that ran last; nil: not known.
func notedStores(fs vfs.FS, path string) (stores map[string]int, err error) {
	text, err := readFile(fs, path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case json.Unmarshal([]byte(text), &stores) != nil:
		return nil, nil
	}
	return stores, nil
}
