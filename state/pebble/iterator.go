package pebble

import (
	"github.com/cockroachdb/pebble/v2"

	"thalweg/state/engine"
)

func (e *Engine) iterate(r pebble.Reader, lower, upper []byte) (it engine.Iterator, err error) {
	defer e.caught(&err)
	opened, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return &iterator{it: opened, engine: e}, nil
}

// iterator fits Pebble's to the contract. Where Pebble panics the iterator is exhausted, and Error tells why.
type iterator struct {
	it     *pebble.Iterator
	engine *Engine
	err    error
}

func (i *iterator) First() (ok bool)            { defer i.caught(); return i.it.First() }
func (i *iterator) Last() (ok bool)             { defer i.caught(); return i.it.Last() }
func (i *iterator) SeekGE(key []byte) (ok bool) { defer i.caught(); return i.it.SeekGE(key) }
func (i *iterator) SeekLT(key []byte) (ok bool) { defer i.caught(); return i.it.SeekLT(key) }
func (i *iterator) Next() (ok bool)             { defer i.caught(); return i.it.Next() }
func (i *iterator) Prev() (ok bool)             { defer i.caught(); return i.it.Prev() }
func (i *iterator) Key() []byte                 { return i.it.Key() }

func (i *iterator) Value() (value []byte, err error) {
	defer i.engine.caught(&err)
	return i.it.ValueAndErr()
}

func (i *iterator) Error() error {
	if i.err != nil {
		return i.err
	}
	return i.engine.failed(i.it.Error())
}

func (i *iterator) Close() (err error) {
	if i.err != nil {
		return i.err // what Pebble panicked in is not to be touched
	}
	defer i.engine.caught(&err)
	return i.it.Close()
}

// caught is deferred where the database is called: a panic of the call becomes the iterator's error.
func (i *iterator) caught() {
	if v := recover(); v != nil {
		i.err = i.engine.panicked(v)
	}
}
