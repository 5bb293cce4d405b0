package runtime

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"thalweg/state/engine"
)

var errViewClosed = ofKind(ErrClosed, errors.New("the view is closed"))

// viewReader is what a view reads: a snapshot of the engine until it ends, then an error. It may end at any moment, so
// nothing that it returns lies in memory of the engine.
type viewReader struct {
	store  string
	opened time.Time
	expiry *time.Timer // nil: there is none

	mu        sync.RWMutex // held for reading during each call, for writing where iterators begin and at the end
	snapshot  engine.Snapshot
	iterators map[*viewIterator]bool
	ended     error // why; nil: it is open
}

func newViewReader(store string, snapshot engine.Snapshot, now time.Time) *viewReader {
	return &viewReader{store: store, opened: now, snapshot: snapshot, iterators: map[*viewIterator]bool{}}
}

// expireAfter ends the reader after a while, and calls then.
func (r *viewReader) expireAfter(age time.Duration, then func()) {
	r.mu.Lock() // it may be over before the timer is here
	defer r.mu.Unlock()
	r.expiry = time.AfterFunc(age, func() {
		_ = r.end(fmt.Errorf("view of store %q: %w: it is older than %v (Config.State.ViewAgeMax)", r.store,
			ErrViewExpired, age))
		then()
	})
}

// end closes the snapshot and its iterators: the engine keeps nothing for them any more.
func (r *viewReader) end(why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return nil
	}
	r.ended = why
	if r.expiry != nil {
		r.expiry.Stop()
	}
	var errs []error
	for it := range r.iterators {
		errs = append(errs, it.it.Close())
	}
	r.iterators = nil
	return errors.Join(append(errs, r.snapshot.Close())...)
}

func (r *viewReader) Get(dst, key []byte) ([]byte, bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.ended != nil {
		return dst, false, r.ended
	}
	return r.snapshot.Get(dst, key)
}

func (r *viewReader) GetSorted(keys [][]byte, found func(number int, value []byte) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.ended != nil {
		return r.ended
	}
	return r.snapshot.GetSorted(keys, found)
}

func (r *viewReader) Iterate(lower, upper []byte) (engine.Iterator, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return nil, r.ended
	}
	it, err := r.snapshot.Iterate(lower, upper)
	if err != nil {
		return nil, err
	}
	v := &viewIterator{reader: r, it: it}
	r.iterators[v] = true
	return v, nil
}

// viewIterator is an iterator that ends with its reader.
type viewIterator struct {
	reader *viewReader
	it     engine.Iterator
	key    []byte
	value  []byte
}

func (i *viewIterator) First() bool { return i.move(i.it.First) }
func (i *viewIterator) Last() bool  { return i.move(i.it.Last) }
func (i *viewIterator) Next() bool  { return i.move(i.it.Next) }
func (i *viewIterator) Prev() bool  { return i.move(i.it.Prev) }
func (i *viewIterator) SeekGE(key []byte) bool {
	return i.move(func() bool { return i.it.SeekGE(key) })
}
func (i *viewIterator) SeekLT(key []byte) bool {
	return i.move(func() bool { return i.it.SeekLT(key) })
}

func (i *viewIterator) move(to func() bool) bool {
	i.reader.mu.RLock()
	defer i.reader.mu.RUnlock()
	if i.reader.ended != nil || !to() {
		return false
	}
	i.key = append(i.key[:0], i.it.Key()...)
	return true
}

func (i *viewIterator) Key() []byte { return i.key }

func (i *viewIterator) Value() ([]byte, error) {
	i.reader.mu.RLock()
	defer i.reader.mu.RUnlock()
	if i.reader.ended != nil {
		return nil, i.reader.ended
	}
	value, err := i.it.Value()
	i.value = append(i.value[:0], value...)
	return i.value, err
}

func (i *viewIterator) Error() error {
	i.reader.mu.RLock()
	defer i.reader.mu.RUnlock()
	if i.reader.ended != nil {
		return i.reader.ended
	}
	return i.it.Error()
}

func (i *viewIterator) Close() error {
	i.reader.mu.Lock()
	defer i.reader.mu.Unlock()
	if !i.reader.iterators[i] {
		return nil
	}
	delete(i.reader.iterators, i)
	return i.it.Close()
}
