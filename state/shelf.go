package state

import (
	"fmt"
	"slices"
	"unsafe"

	"thalweg/internal/invariant"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// shelf is a write-back table: the entries of one store, or of one window of a store, over their range of the engine.
//
// An entry goes through three lists. Its first change since the last drain puts it on changed, and its earlier state
// on images. Drain moves changed to drained, Commit moves drained to pending, a checkpoint writes pending to the
// engine. Discard puts the images back, newest first, and so undoes everything since the last commit, whatever lies
// between. An entry on any list stays in memory.
type shelf struct {
	*table.Table
	room   *room
	vault  vault
	number uint32 // among the shelves of the room
	prefix []byte // of the shelf's keys in the engine
	suffix []byte // of the shelf's keys in the changelog
	held   bool   // the shelf's keys are those of held records
	sender func(index uint32) error

	images  []image
	kept    []uint64 // the payloads of the images
	sealed  int      // so many images belong to what was drained
	changed []uint32
	drained []uint32
	pending []uint32

	complete bool // every key that the engine has is here too
	limit    int  // entries that the shelf may have before it asks for more room
	order    *ordered
	dirty    int64  // bytes changed since the last drain, roughly
	waiting  int64  // bytes committed since the last checkpoint, roughly
	touched  uint32 // depends on what touch has read
}

// image is an entry's state before a change; its payload lies beside it.
type image struct {
	timestamp int64
	index     uint32
	present   bool
	commit    bool // the state at the last drain; otherwise at a flush after it
}

func newShelf(r *room, prefix []byte, t *table.Table, v vault) *shelf {
	s := &shelf{Table: t, room: r, prefix: prefix, vault: v, complete: !r.persistent}
	s.number = r.enroll(s)
	return s
}

// rest empties a shelf that is used no more, which keeps its memory until it wakes.
func (s *shelf) rest() {
	s.room.shelves[s.number] = nil
	s.Reset()
	if v, ok := s.vault.(*raw); ok {
		v.forget()
		v.arena = arena{}
	}
	s.images, s.kept, s.sealed = s.images[:0], s.kept[:0], 0
	s.changed, s.drained, s.pending = s.changed[:0], s.drained[:0], s.pending[:0]
	s.complete, s.limit, s.order = !s.room.persistent, 0, nil
	s.dirty, s.waiting = 0, 0
}

// wake puts a shelf that rests to use.
func (s *shelf) wake(prefix []byte) { s.prefix, s.number = prefix, s.room.enroll(s) }

// payload points at the payload of an image.
func (s *shelf) payload(image int) unsafe.Pointer {
	return unsafe.Pointer(&s.kept[image*s.PayloadWords()])
}

// find returns the place of a key, which it makes when there is none.
func (s *shelf) find(key []byte) (uint32, error) {
	hash := s.Hash(key)
	if index, ok := s.Find(hash, key); ok {
		s.At(index).Mark(table.Used)
		return index, nil
	}
	return s.miss(hash, key)
}

// lookup returns the place of a key, unless it is known not to exist.
func (s *shelf) lookup(key []byte) (index uint32, found bool, err error) {
	hash := s.Hash(key)
	if index, ok := s.Find(hash, key); ok {
		s.At(index).Mark(table.Used)
		return index, true, nil
	}
	if s.complete {
		return 0, false, nil
	}
	index, err = s.miss(hash, key)
	return index, err == nil, err
}

// miss makes a place for a key and loads what the engine has.
func (s *shelf) miss(hash uint64, key []byte) (uint32, error) {
	if len(key) > table.KeyBytesMax {
		return 0, longKey(s.room, key)
	}
	if s.Len() >= s.limit {
		s.room.tx.makeRoom(s)
	}
	var row []byte
	found := false
	if !s.complete {
		var err error
		s.room.key = append(append(s.room.key[:0], s.prefix...), key...)
		row, found, err = s.room.tx.config.Engine.Get(s.room.fetch[:0], s.room.key)
		if err != nil {
			return 0, fmt.Errorf("store %q: read: %w", s.room.name, err)
		}
		s.room.fetch = row
	}
	index := s.Insert(hash, key)
	if found {
		if err := s.loadRow(index, row); err != nil {
			s.Delete(index)
			return 0, err
		}
	}
	if s.order != nil {
		s.order.fresh = append(s.order.fresh, index)
	}
	return index, nil
}

func (s *shelf) loadRow(index uint32, row []byte) error {
	timestamp, value, err := layout.Value(row)
	e := s.At(index)
	if err == nil {
		err = s.vault.load(index, s.Payload(e), value)
	}
	if err != nil {
		return decodeError(s.room.name, "value", err)
	}
	e.Timestamp = timestamp
	e.Mark(table.Present)
	return nil
}

// change is called before each change of an entry.
func (s *shelf) change(index uint32, e *table.Entry) {
	needed := s.room.needed
	if e.Flags()&needed != needed {
		s.capture(index, e)
	}
	if needed&table.DirtyFlush != 0 {
		s.room.record(s.number, index, &e.Turn)
	}
}

// capture keeps the state of an entry that was not changed since the last drain, or flush.
func (s *shelf) capture(index uint32, e *table.Entry) {
	first := !e.Has(table.DirtyCommit)
	s.images = append(s.images, image{
		timestamp: e.Timestamp, index: index, present: e.Has(table.Present), commit: first,
	})
	s.kept = append(s.kept, s.Words(e)...)
	s.vault.taken(s.Payload(e), s.payload(len(s.images)-1))
	e.Image = uint32(len(s.images))
	if first {
		s.changed = append(s.changed, index)
		s.dirty += s.keyBytes(e)
		if s.order != nil && !e.Has(table.Listed) {
			s.order.fresh = append(s.order.fresh, index)
		}
	}
	if s.room.needed&table.DirtyFlush != 0 && !e.Has(table.DirtyFlush) {
		e.Turn = 0
		s.room.live++
	}
	e.Mark(s.room.needed)
}

// keyBytes is about the size of an entry, without what its value holds outside.
func (s *shelf) keyBytes(e *table.Entry) int64 { return int64(len(s.Key(e))) + 64 }

func (s *shelf) turn(index uint32) *uint32 { return &s.At(index).Turn }

// flushed takes the mark of an entry that is about to be emitted, and returns its image.
func (s *shelf) flushed(index uint32) (was image, payload unsafe.Pointer) {
	e := s.At(index)
	e.Clear(table.DirtyFlush)
	e.Turn = 0
	s.room.live--
	return s.image(e)
}

// image is the state of an entry before what is not flushed, or not drained, yet.
func (s *shelf) image(e *table.Entry) (image, unsafe.Pointer) {
	at := int(e.Image - 1)
	return s.images[at], s.payload(at)
}

// drain hands out the changelog records.
func (s *shelf) drain(emit func(Store, []byte, []byte, int64) error) error {
	for _, index := range s.changed {
		e := s.At(index)
		if invariant.Enabled {
			invariant.Check(e.InUse() && e.Has(table.DirtyCommit), "store %q: entry %d is drained unchanged", s.room.name, index)
			invariant.Check(e.Image > 0 && int(e.Image) <= len(s.images), "store %q: image %d of %d", s.room.name, e.Image,
				len(s.images))
		}
		if e.Has(table.DirtyFlush) {
			return fmt.Errorf("store %q: drained before it was flushed", s.room.name)
		}
		e.Clear(table.DirtyCommit)
		var value []byte
		if e.Has(table.Present) {
			var err error
			if value, err = s.encoded(index, e); err != nil {
				return s.room.valueError(s.Key(e), err)
			}
		} else if img := &s.images[e.Image-1]; img.commit && !img.present {
			continue // came and went
		}
		if !s.room.logged || s.room.silent {
			continue
		}
		key := s.Key(e)
		switch {
		case s.suffix != nil:
			s.room.key = append(append(s.room.key[:0], key...), s.suffix...)
			key = s.room.key
		case s.held:
			s.room.key = appendHeld(s.room.key[:0], key)
			key = s.room.key
		}
		if err := emit(s.room.store, key, value, e.Timestamp); err != nil {
			return err
		}
	}
	s.close()
	return nil
}

// encoded returns the bytes of an entry's value: a view that is valid until the next call.
func (s *shelf) encoded(index uint32, e *table.Entry) ([]byte, error) {
	p := s.Payload(e)
	if v, ok := s.vault.(*raw); ok {
		err := v.settle(index, p)
		if err != nil {
			return nil, err
		}
		return v.view(rawAt(p).place), nil
	}
	b, err := s.vault.appendTo(s.room.value[:0], index, p)
	if err == nil {
		s.room.value = b
	}
	return b, err
}

// close ends a drain: what comes now belongs to the next commit.
func (s *shelf) close() {
	s.drained = append(s.drained, s.changed...)
	s.changed = s.changed[:0]
	s.sealed = len(s.images)
	s.waiting += s.dirty
	s.dirty = 0
}

// seal drains what a restore has written, whose records are in the changelog already.
func (s *shelf) seal() error {
	for _, index := range s.changed {
		e := s.At(index)
		e.Clear(table.DirtyCommit)
		if e.Has(table.Present) {
			if err := s.vault.settle(index, s.Payload(e)); err != nil {
				return fmt.Errorf("store %q: encode value: %w", s.room.name, err)
			}
		}
	}
	s.close()
	return nil
}

// commit makes what was drained the state to go back to.
func (s *shelf) commit() {
	if len(s.drained) == 0 && s.sealed == 0 {
		return
	}
	if invariant.Enabled {
		invariant.Check(s.sealed <= len(s.images), "store %q: %d images sealed of %d", s.room.name, s.sealed, len(s.images))
		invariant.Check(len(s.kept) == len(s.images)*s.PayloadWords(), "store %q: %d images in %d words", s.room.name,
			len(s.images), len(s.kept))
	}
	for i := range s.sealed {
		s.vault.release(s.payload(i))
	}
	s.kept = slices.Delete(s.kept, 0, s.sealed*s.PayloadWords())
	s.images = slices.Delete(s.images, 0, s.sealed)
	for i := range s.images {
		s.At(s.images[i].index).Image = uint32(i + 1) // later images of an entry come later
	}
	s.sealed = 0
	for _, index := range s.drained {
		e := s.At(index)
		switch {
		case !s.room.persistent:
			s.bury(index, e)
		case !e.Has(table.DirtyCheckpoint):
			e.Mark(table.DirtyCheckpoint)
			s.pending = append(s.pending, index)
		}
	}
	s.drained = s.drained[:0]
	s.vault.tidy(len(s.images) == 0)
	if len(s.images) == 0 {
		s.Compact()
	}
}

// remove takes an entry's value away.
func (s *shelf) remove(index uint32, timestamp int64) {
	e := s.At(index)
	s.change(index, e)
	s.vault.release(s.Payload(e))
	e.Timestamp = timestamp
	e.Clear(table.Present)
}

// present tells whether the key of an entry has a value.
func (s *shelf) present(index uint32) bool { return s.At(index).Has(table.Present) }

// view returns an entry's key.
func (s *shelf) view(index uint32) (key []byte, stays bool) {
	e := s.At(index)
	return s.Key(e), s.KeyStays(e)
}

// bury frees an entry that stands for a key that is nowhere.
func (s *shelf) bury(index uint32, e *table.Entry) {
	if e.Has(table.Present|table.Dirty) || !s.complete || s.room.scans > 0 {
		return
	}
	if s.order != nil && e.Has(table.Listed) {
		s.order.remove(index)
	}
	s.vault.release(s.Payload(e))
	s.Delete(index)
}

// discard goes back to the last commit.
func (s *shelf) discard() {
	s.vault.forget()
	for i := len(s.images) - 1; i >= 0; i-- {
		img := &s.images[i]
		e := s.At(img.index)
		if !img.commit {
			s.vault.release(s.payload(i))
			continue
		}
		s.vault.release(s.Payload(e))
		copy(s.Words(e), unsafe.Slice((*uint64)(s.payload(i)), s.PayloadWords()))
		e.Timestamp = img.timestamp
		e.Clear(table.DirtyCommit | table.DirtyFlush | table.Present)
		e.Image, e.Turn = 0, 0
		if img.present {
			e.Mark(table.Present)
		}
	}
	buried := s.images
	s.images, s.kept, s.sealed = s.images[:0], s.kept[:0], 0
	s.changed, s.drained = s.changed[:0], s.drained[:0]
	s.dirty = 0
	for i := range buried {
		if e := s.At(buried[i].index); !buried[i].present && buried[i].commit && e.InUse() {
			s.bury(buried[i].index, e)
		}
	}
}

// touchLeast is from how many entries on a table is so large that its lines are not near anyway.
const touchLeast = 1 << 13

func (s *shelf) toucher(values bool) func(keys [][]byte) {
	return func(keys [][]byte) { s.touch(keys, values) }
}

// touch reads cache lines ahead of their use; values tells that the values will be read, too.
func (s *shelf) touch(keys [][]byte, values bool) {
	if s.Len() < touchLeast {
		return
	}
	var hashes [table.TouchMost]uint64
	var near [table.TouchMost]*table.Entry
	for len(keys) > 0 {
		n := min(len(keys), table.TouchMost)
		for i, key := range keys[:n] {
			hashes[i] = s.Hash(key)
		}
		found, sum := s.Touch(hashes[:n], &near)
		if v, ok := s.vault.(*raw); ok && values {
			sum += v.touch(near[:found])
		}
		s.touched += sum
		keys = keys[n:]
	}
}
