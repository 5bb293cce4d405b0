package pebble

import "github.com/cockroachdb/pebble/v2"

// lookupOptions are those of an iterator that looks up whole keys. A key is its own prefix, so the tables' filters
// answer for absent keys. DB.Get does not ask the filters of the bottom level, where most rows are.
var lookupOptions = pebble.IterOptions{KeyTypes: pebble.IterKeyTypePointsOnly, UseL6Filters: true}

// getSorted goes over the keys with one iterator, which moves from each key to the next without a new search where
// they are near each other.
func (e *Engine) getSorted(r pebble.Reader, keys [][]byte, found func(int, []byte) error) (err error) {
	if len(keys) == 0 {
		return nil
	}
	it, err := e.openLookup(r)
	if err != nil {
		return err
	}
	defer func() {
		if closed := it.Close(); err == nil {
			err = closed
		}
	}()
	for i, key := range keys {
		if !it.seekKey(key) {
			if err := it.Error(); err != nil {
				return err
			}
			continue
		}
		value, err := it.Value()
		if err == nil {
			err = found(i, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) openLookup(r pebble.Reader) (it *iterator, err error) {
	defer e.caught(&err)
	opened, err := r.NewIter(&lookupOptions)
	if err != nil {
		return nil, err
	}
	return &iterator{it: opened, engine: e}, nil
}

// seekKey goes to a key, and tells whether it is there. Pebble's prefix seek is not made for an empty prefix.
func (i *iterator) seekKey(key []byte) (ok bool) {
	defer i.caught()
	if len(key) == 0 {
		return i.it.First() && len(i.it.Key()) == 0
	}
	return i.it.SeekPrefixGE(key)
}
