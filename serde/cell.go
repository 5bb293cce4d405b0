package serde

import (
	"reflect"
	"sync"
	"unsafe"
)

// viaCell is the serde of a type whose encoder wants a value by its address, or has scratch space. The value is copied
// to a cell that is kept, so that nothing is allocated to make it addressable.
type viaCell[T any] struct{ cells *cells }

func (s *viaCell[T]) Append(dst []byte, v T) ([]byte, error) {
	c := s.cells.take()
	*(*T)(c.value) = v
	dst, err := s.cells.append(dst, c)
	s.cells.give(c)
	return dst, err
}

func (s *viaCell[T]) Decode(src []byte) (v T, err error) {
	c := s.cells.take()
	if err = s.cells.decode(src, c); err == nil {
		v = *(*T)(c.value)
	}
	s.cells.give(c)
	return v, err
}

func (s *viaCell[T]) Local() Serde[T] { return &viaCell[T]{s.cells.local()} }
func (s *viaCell[T]) size() int       { return s.cells.size }
func (s *viaCell[T]) CheckKey() error { return s.cells.noKey }

// cells hands out the cells of a type: the only one, to the serde of one goroutine, or one of a pool.
type cells struct {
	of      reflect.Type
	nilable bool
	size    int   // bytes of an encoded value, 0 = it varies
	noKey   error // why equal values may have different bytes
	codec   func() cellCodec
	only    *cell
	pool    *sync.Pool
}

// cell is a place for one value, and the scratch space of its encoder.
type cell struct {
	cellCodec
	slot   reflect.Value
	value  unsafe.Pointer // to what is in the slot
	holder any            // the same pointer, with its type
}

// cellCodec encodes and decodes the value in a cell, which is zero before it is decoded to.
type cellCodec interface {
	append(dst []byte, c *cell) ([]byte, error)
	decode(src []byte, c *cell) error
}

func newCells(s cells) *cells {
	s.pool = &sync.Pool{New: func() any { return s.make() }}
	return &s
}

func (s *cells) make() *cell {
	p := reflect.New(s.of)
	return &cell{cellCodec: s.codec(), slot: p.Elem(), value: p.UnsafePointer(), holder: p.Interface()}
}

func (s *cells) local() *cells {
	l := *s
	l.only = s.make()
	return &l
}

func (s *cells) take() *cell {
	if s.only != nil {
		return s.only
	}
	return s.pool.Get().(*cell)
}

func (s *cells) give(c *cell) {
	c.slot.SetZero()
	if s.only == nil {
		s.pool.Put(c)
	}
}

func (s *cells) append(dst []byte, c *cell) ([]byte, error) {
	if s.nilable && isNull(c.value) {
		return dst, errNull(s.of.String())
	}
	return c.append(dst, c)
}

func (s *cells) decode(src []byte, c *cell) error {
	c.slot.SetZero() // a method that panicked may have left something
	if src == nil && s.nilable {
		return nil
	}
	return c.decode(src, c)
}
