package serde

import (
	"reflect"
	"sync"
	"unsafe"
)

// value is the serde of a type by its name. Each type that a program names costs the compiler a copy of its methods, so
// there are few of them, on the pointer alone, and the rest knows no type parameter.
type value[T any] struct{ coder }

func (s *value[T]) Append(dst []byte, v T) ([]byte, error) {
	if s.cells == nil {
		return s.form.append(dst, unsafe.Pointer(&v))
	}
	c := s.cells.take()
	*(*T)(c.value) = v
	dst, err := s.cells.append(dst, c)
	s.cells.give(c)
	return dst, err
}

func (s *value[T]) Decode(src []byte) (v T, err error) {
	if s.cells == nil {
		if err = s.form.decode(src, unsafe.Pointer(&v)); err != nil {
			var zero T
			v = zero
		}
		return v, err
	}
	c := s.cells.take()
	if err = s.cells.decode(src, c); err == nil {
		v = *(*T)(c.value)
	}
	s.cells.give(c)
	return v, err
}

// coder is how a type is written, without the type. It has one method, since each is made again for each type of value
// that embeds it.
type coder struct {
	form  form   // how the value is written where it lies
	cells *cells // or, where there are any, how it is written from a cell
}

// coded is a serde of this package that has a coder.
type coded interface{ own() *coder }

func (c *coder) own() *coder { return c }

func checkCoder(c *coder) error {
	if c.cells != nil {
		return nil
	}
	return c.form.check()
}

func sizeOfCoder(c *coder) int {
	if c.cells != nil {
		return c.cells.size
	}
	return c.form.size()
}

// cells hands out the cells of a type: the only one, to the serde of one goroutine, or one of a pool.
type cells struct {
	of      reflect.Type
	nilable bool
	size    int   // bytes of an encoded value, 0 = it varies
	noKey   error // why equal values may have different bytes
	format  string
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
