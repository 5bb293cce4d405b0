package state

import (
	"fmt"
	"slices"
	"unsafe"

	"thalweg/internal/invariant"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
)

// rowCache is a write-back table: the entries of one store, or of one window of a store, over their range of the
// engine.
//
// The first change of an entry since the last drain puts its earlier state on images. Drain marks the images as
// drained, Commit drops the drained ones and moves their entries to pending, a checkpoint writes pending to the engine.
// Discard puts the images back, newest first, and so undoes everything since the last commit, whatever lies between. An
// entry on a list stays in memory, except one that was made and removed since the last commit: see freeUncommitted.
type rowCache struct {
	*table.Table
	base      *storeBase
	storage   valueStorage
	number    uint32 // among the caches of the store
	prefix    []byte // of the cache's keys in the engine
	suffix    []byte // of the cache's keys in the changelog
	tail      int    // bytes of a time at the end of each key
	unmatched bool   // the keys are those of unmatched records
	emit      func(index uint32) error

	images        []image
	imagePayloads []uint64 // the payloads of the images
	drained       int      // so many images belong to the last drain
	void          int      // so many of the others belong to no entry any more
	pending       []uint32

	complete bool     // every key that the engine has is here too
	limit    int      // entries that the cache may have before it asks for more space
	order    *ordered // by key
	times    *ordered // by the times in which keys end
	dirty    int64    // bytes changed since the last drain, roughly
	waiting  int64    // bytes committed since the last checkpoint, roughly
	near     uint32   // depends on what prefetchLines has read
	counted  int64    // what the Tx knows of indexBytes

	named  rowsAhead // what the program had read ahead
	wholes int       // see whole
}

// image is an entry's state before a change; its payload lies beside it.
type image struct {
	timestamp int64
	index     uint32
	earlier   uint32 // 1 + the image of the entry before this one; 0: none
	present   bool
	commit    bool // the state at the last drain; otherwise at a flush after it
	void      bool // the entry is gone
}

// voidMin is from how many void images on they are taken out.
const voidMin = 1024

func newRowCache(r *storeBase, prefix []byte, t *table.Table, v valueStorage) *rowCache {
	s := &rowCache{Table: t, base: r, prefix: prefix, storage: v, complete: !r.persistent}
	s.number = r.addCache(s)
	return s
}

// retire empties a cache that is out of use. It keeps its memory for reuse.
func (s *rowCache) retire() {
	s.base.caches[s.number] = nil
	s.Reset()
	if v, ok := s.storage.(*boxedValues); ok {
		v.dropObjects()
		v.arena.reset()
	}
	s.images, s.imagePayloads, s.drained, s.void = s.images[:0], s.imagePayloads[:0], 0, 0
	s.pending = s.pending[:0]
	s.complete, s.limit, s.order, s.times, s.wholes = !s.base.persistent, 0, nil, nil, 0
	s.dirty, s.waiting = 0, 0
}

// reuse puts a retired cache back to use.
func (s *rowCache) reuse(prefix []byte) { s.prefix, s.number = prefix, s.base.addCache(s) }

// payload points at the payload of an image.
func (s *rowCache) payload(image int) unsafe.Pointer {
	return unsafe.Pointer(&s.imagePayloads[image*s.PayloadWords()])
}

// find returns the entry of a key. It makes one when there is none.
func (s *rowCache) find(key []byte) (uint32, error) {
	hash := s.Hash(key)
	if index, ok := s.Find(hash, key); ok {
		s.At(index).Use()
		return index, nil
	}
	return s.miss(hash, key, s.complete)
}

// lookup returns the entry of a key, unless the key is known not to exist.
func (s *rowCache) lookup(key []byte) (index uint32, found bool, err error) {
	hash := s.Hash(key)
	if index, ok := s.Find(hash, key); ok {
		s.At(index).Use()
		return index, true, nil
	}
	if s.complete {
		return 0, false, nil
	}
	index, err = s.miss(hash, key, false)
	return index, err == nil, err
}

// miss makes an entry for a key and loads its row from the engine; absent says that the engine has none.
func (s *rowCache) miss(hash uint64, key []byte, absent bool) (uint32, error) {
	if len(key) > table.KeyBytesMax {
		return 0, longKey(s.base, key)
	}
	if s.Len() >= s.limit {
		s.base.tx.makeSpace(s)
	}
	var row []byte
	found := false
	if !absent {
		s.base.missed++
		var err error
		s.base.key = append(append(s.base.key[:0], s.prefix...), key...)
		row, found, err = s.base.tx.config.Engine.Get(s.base.fetch[:0], s.base.key)
		if err != nil {
			return 0, fmt.Errorf("store %q: read: %w", s.base.name, err)
		}
		s.base.fetch = row
	}
	index := s.Insert(hash, key)
	if found {
		if err := s.loadRow(index, row); err != nil {
			s.Delete(index)
			return 0, err
		}
	}
	s.unlisted(index)
	return index, nil
}

func (s *rowCache) loadRow(index uint32, row []byte) error {
	timestamp, value, err := layout.Value(row)
	e := s.At(index)
	if err == nil {
		err = s.storage.load(index, s.Payload(e), value)
	}
	if err != nil {
		return decodeError(s.base.name, "value", err)
	}
	e.Timestamp = timestamp
	e.Mark(table.Present)
	return nil
}

// change is called before each change of an entry.
func (s *rowCache) change(index uint32, e *table.Entry) {
	needed := s.base.dirtyFlags
	if e.Flags()&needed != needed {
		s.capture(index, e)
	}
	if needed&table.DirtyFlush != 0 {
		s.base.markDirty(s.number, index, &e.DirtyAt)
	}
}

// capture keeps the state of an entry that was not changed since the last drain, or flush.
func (s *rowCache) capture(index uint32, e *table.Entry) {
	if len(s.images) == cap(s.images) {
		s.count()
	}
	first := !e.Has(table.DirtyCommit)
	s.images = append(s.images, image{
		timestamp: e.Timestamp, index: index, earlier: e.Image, present: e.Has(table.Present), commit: first,
	})
	s.imagePayloads = append(s.imagePayloads, s.Words(e)...)
	s.storage.captured(s.Payload(e), s.payload(len(s.images)-1))
	e.Image = uint32(len(s.images))
	if first {
		s.dirty += s.keyBytes(e)
		if !e.Has(table.Listed) {
			s.unlisted(index)
		}
	}
	if s.base.dirtyFlags&table.DirtyFlush != 0 && !e.Has(table.DirtyFlush) {
		e.DirtyAt = 0
		s.base.awaitingFlush++
	}
	e.Mark(s.base.dirtyFlags)
}

// entryWeight is about what a row takes beside its key and its value.
const entryWeight = 64

// keyBytes is about the size of an entry, without what its value holds outside.
func (s *rowCache) keyBytes(e *table.Entry) int64 { return int64(len(s.Key(e))) + entryWeight }

// dirtyAt is an entry's last position in the dirty list; nil if the entry is gone.
func (s *rowCache) dirtyAt(index uint32) *uint32 {
	if e := s.At(index); e.InUse() {
		return &e.DirtyAt
	}
	return nil
}

// flushed takes the mark of an entry that is about to be emitted, and returns its image.
func (s *rowCache) flushed(index uint32) (was *image, payload unsafe.Pointer) {
	e := s.At(index)
	e.Clear(table.DirtyFlush)
	e.DirtyAt = 0
	s.base.awaitingFlush--
	return s.image(e)
}

// image is the state of an entry before what is not flushed, or not drained, yet: a view.
func (s *rowCache) image(e *table.Entry) (*image, unsafe.Pointer) {
	at := int(e.Image - 1)
	return &s.images[at], s.payload(at)
}

// drain hands out the changelog records.
func (s *rowCache) drain(emit func(Store, []byte, []byte, int64) error) error {
	images := s.images[s.drained:]
	for i := range images {
		if !images[i].commit || images[i].void {
			continue
		}
		index := images[i].index
		e := s.At(index)
		if invariant.Enabled {
			invariant.Check(e.InUse() && e.Has(table.DirtyCommit), "store %q: entry %d is drained unchanged", s.base.name, index)
			invariant.Check(e.Image > 0 && int(e.Image) <= len(s.images), "store %q: image %d of %d", s.base.name, e.Image,
				len(s.images))
		}
		if e.Has(table.DirtyFlush) {
			return fmt.Errorf("store %q: drained before it was flushed", s.base.name)
		}
		e.Clear(table.DirtyCommit)
		var value []byte
		if e.Has(table.Present) {
			var err error
			if value, err = s.encoded(index, e); err != nil {
				return s.base.valueError(s.Key(e), err)
			}
		} else if img := &s.images[e.Image-1]; img.commit && !img.present {
			continue // came and went
		}
		key := s.Key(e)
		s.countWaiting(e, len(key)+len(value))
		if !s.base.logged || s.base.writesOwnChangelog {
			continue
		}
		switch {
		case s.suffix != nil:
			s.base.key = append(append(s.base.key[:0], key...), s.suffix...)
			key = s.base.key
		case s.unmatched:
			s.base.key = appendUnmatched(s.base.key[:0], key)
			key = s.base.key
		}
		if err := emit(s.base.store, key, value, e.Timestamp); err != nil {
			return err
		}
	}
	s.endDrain()
	return nil
}

// encoded returns the bytes of an entry's value: a view that is valid until the next call.
func (s *rowCache) encoded(index uint32, e *table.Entry) ([]byte, error) {
	p := s.Payload(e)
	if v, ok := s.storage.(*boxedValues); ok {
		err := v.ensureEncoded(index, p)
		if err != nil {
			return nil, err
		}
		return v.view(boxedAt(p).arenaRef), nil
	}
	b, err := s.storage.appendTo(s.base.value[:0], index, p)
	if err == nil {
		s.base.value = b
	}
	return b, err
}

// endDrain ends a drain: what comes now belongs to the next commit.
func (s *rowCache) endDrain() {
	s.drained, s.void = len(s.images), 0
	s.dirty = 0
}

// countWaiting counts an entry, with the bytes of its key and its value, among what the engine does not have.
func (s *rowCache) countWaiting(e *table.Entry, bytes int) {
	if s.base.persistent && !e.Has(table.DirtyCheckpoint) {
		s.waiting += int64(bytes) + entryWeight
	}
}

// markDrained drains what a restore has written, whose records are in the changelog already.
func (s *rowCache) markDrained() error {
	for i := s.drained; i < len(s.images); i++ {
		img := &s.images[i]
		if !img.commit || img.void {
			continue
		}
		e := s.At(img.index)
		e.Clear(table.DirtyCommit)
		if e.Has(table.Present) {
			if err := s.storage.ensureEncoded(img.index, s.Payload(e)); err != nil {
				return fmt.Errorf("store %q: encode value: %w", s.base.name, err)
			}
		}
		s.countWaiting(e, len(s.Key(e))+int(s.storage.outsideBytes(s.Payload(e))))
	}
	s.endDrain()
	return nil
}

// commit makes what was drained the state to go back to.
func (s *rowCache) commit() {
	if s.drained == 0 {
		return
	}
	if invariant.Enabled {
		invariant.Check(s.drained <= len(s.images), "store %q: %d images drained of %d", s.base.name, s.drained,
			len(s.images))
		invariant.Check(len(s.imagePayloads) == len(s.images)*s.PayloadWords(), "store %q: %d images in %d words",
			s.base.name, len(s.images), len(s.imagePayloads))
	}
	drained, persistent := s.images[:s.drained], s.base.persistent
	for i := range drained {
		s.storage.release(s.payload(i))
		if !drained[i].commit || drained[i].void {
			continue
		}
		e := s.At(drained[i].index)
		e.Image = 0
		if persistent && !e.Has(table.DirtyCheckpoint) {
			e.Mark(table.DirtyCheckpoint)
			s.pending = append(s.pending, drained[i].index)
		}
	}
	for i := s.drained; i < len(s.images); i++ { // later images of an entry come later
		img := &s.images[i]
		img.earlier -= min(img.earlier, uint32(s.drained))
		if !img.void {
			s.At(img.index).Image = uint32(i - s.drained + 1)
		}
	}
	if !persistent {
		s.freeAllAbsent(drained)
	}
	s.imagePayloads = slices.Delete(s.imagePayloads, 0, s.drained*s.PayloadWords())
	s.images = slices.Delete(s.images, 0, s.drained)
	s.drained = 0
	s.storage.committed(len(s.images) == 0)
	if len(s.images) == 0 {
		s.Compact(false)
	}
}

// freeAllAbsent frees the entries of images, as far as no change refers to them.
func (s *rowCache) freeAllAbsent(images []image) {
	for i := range images {
		if !images[i].commit || images[i].void {
			continue
		}
		if e := s.At(images[i].index); e.InUse() {
			s.freeAbsent(images[i].index, e)
		}
	}
}

// remove takes an entry's value away.
func (s *rowCache) remove(index uint32, timestamp int64) {
	e := s.At(index)
	s.change(index, e)
	s.storage.release(s.Payload(e))
	e.Timestamp = timestamp
	e.Clear(table.Present)
}

// freeUncommitted frees an entry that was removed, if it was made since the last commit and no listener got it. So what
// comes and goes leaves nothing behind that a search for its neighbors would have to pass.
func (s *rowCache) freeUncommitted(index uint32) {
	e := s.At(index)
	if e.Image == 0 || e.Has(table.Present|table.DirtyCheckpoint) || !e.Has(table.DirtyCommit) {
		return
	}
	img := &s.images[e.Image-1]
	if !img.commit || img.present || img.earlier != 0 {
		return
	}
	if s.base.scans > 0 {
		s.base.toFree = append(s.base.toFree, uint64(s.number)<<32|uint64(index))
		return
	}
	img.void = true
	s.void++
	s.dirty -= s.keyBytes(e)
	if e.Has(table.DirtyFlush) {
		s.base.awaitingFlush--
	}
	s.free(index, e)
	for n := len(s.images); n > s.drained && s.images[n-1].void; n-- {
		s.images, s.imagePayloads = s.images[:n-1], s.imagePayloads[:(n-1)*s.PayloadWords()]
		s.void--
	}
	if s.void >= voidMin && s.void > (len(s.images)-s.drained)/2 {
		s.dropVoid()
	}
}

// dropVoid takes the void images out.
func (s *rowCache) dropVoid() {
	n, words := s.drained, s.PayloadWords()
	for i := s.drained; i < len(s.images); i++ {
		img := s.images[i]
		if img.void {
			continue
		}
		e := s.At(img.index)
		if int(img.earlier) > s.drained {
			img.earlier = e.Image // is the one that was moved before
		}
		e.Image = uint32(n + 1)
		s.images[n] = img
		copy(s.imagePayloads[n*words:], s.imagePayloads[i*words:(i+1)*words])
		n++
	}
	s.images, s.imagePayloads, s.void = s.images[:n], s.imagePayloads[:n*words], 0
}

// present tells whether the key of an entry has a value.
func (s *rowCache) present(index uint32) bool { return s.At(index).Has(table.Present) }

// view returns an entry's key.
func (s *rowCache) view(index uint32) (key []byte, stays bool) {
	e := s.At(index)
	return s.Key(e), s.KeyStays(e)
}

// freeAbsent frees an entry that stands for a key that is nowhere.
func (s *rowCache) freeAbsent(index uint32, e *table.Entry) {
	if e.Has(table.Present|table.Dirty) || e.Image != 0 || !s.complete || s.base.scans > 0 {
		return
	}
	s.free(index, e)
}

// free gives an entry up.
func (s *rowCache) free(index uint32, e *table.Entry) {
	if e.Has(table.Listed) {
		s.unlist(index)
	}
	s.storage.release(s.Payload(e))
	s.Delete(index)
}

// discard goes back to the last commit.
func (s *rowCache) discard() {
	s.storage.dropObjects()
	for i := len(s.images) - 1; i >= 0; i-- {
		img := &s.images[i]
		if img.void {
			continue
		}
		e := s.At(img.index)
		if !img.commit {
			s.storage.release(s.payload(i))
			continue
		}
		s.storage.release(s.Payload(e))
		copy(s.Words(e), unsafe.Slice((*uint64)(s.payload(i)), s.PayloadWords()))
		e.Timestamp = img.timestamp
		e.Clear(table.DirtyCommit | table.DirtyFlush | table.Present)
		e.Image, e.DirtyAt = 0, 0
		if img.present {
			e.Mark(table.Present)
		}
	}
	undone := s.images
	s.images, s.imagePayloads, s.drained, s.void = s.images[:0], s.imagePayloads[:0], 0, 0
	s.dirty = 0
	for i := range undone {
		if e := s.At(undone[i].index); !undone[i].present && undone[i].commit && !undone[i].void && e.InUse() {
			s.freeAbsent(undone[i].index, e)
		}
	}
}
