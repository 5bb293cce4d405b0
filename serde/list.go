package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// List returns the serde of []T whose elements elem encodes, in the form of Kafka's list serializer. The nil slice is
// null, the empty one is not; an element of a nilable type may be null.
//
//	elements of one size (ints of 2 bytes and more, floats, UUID, time, and pointers to them):
//	  0 ‖ number of nulls (4) ‖ their indexes (4 each) ‖ number of elements, with the nulls (4) ‖ the elements, without
//	other elements:
//	  1 ‖ number of elements (4) ‖ for each: its length (4), -1 for null ‖ its bytes
func List[T any](elem Serde[T]) Serde[[]T] {
	return list[T]{elem: elem, nilable: IsNilable[T](), size: sizeOf(elem)}
}

const (
	listFixed    = 0
	listVariable = 1
)

type list[T any] struct {
	elem    Serde[T]
	nilable bool
	size    int // bytes of an element, 0 = it varies
}

func (l list[T]) Append(dst []byte, v []T) ([]byte, error) {
	if v == nil {
		return dst, errNull("list")
	}
	if len(v) > math.MaxInt32 {
		return dst, fmt.Errorf("list: %d elements are more than %d", len(v), math.MaxInt32)
	}
	out := dst
	if l.size > 0 {
		out = l.appendNullIndexes(append(out, listFixed), v)
	} else {
		out = append(out, listVariable)
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
	var err error
	for i := range v {
		if out, err = l.appendElement(out, &v[i]); err != nil {
			return dst, fmt.Errorf("list: element %d: %w", i, err)
		}
	}
	return out, nil
}

func (l list[T]) appendNullIndexes(dst []byte, v []T) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if !l.nilable {
		return dst
	}
	for i := range v {
		if firstWordNil(&v[i]) {
			dst = binary.BigEndian.AppendUint32(dst, uint32(i))
		}
	}
	binary.BigEndian.PutUint32(dst[at:], uint32((len(dst)-at)/4-1))
	return dst
}

func (l list[T]) appendElement(dst []byte, v *T) (_ []byte, err error) {
	null := l.nilable && firstWordNil(v)
	if l.size > 0 {
		if null {
			return dst, nil
		}
		return l.elem.Append(dst, *v)
	}
	if null {
		return binary.BigEndian.AppendUint32(dst, math.MaxUint32), nil
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if dst, err = l.elem.Append(dst, *v); err != nil {
		return dst, err
	}
	n := len(dst) - at - 4
	if n > math.MaxInt32 {
		return dst, fmt.Errorf("%d bytes are more than %d", n, math.MaxInt32)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(n))
	return dst, nil
}

func (l list[T]) Decode(src []byte) ([]T, error) {
	if src == nil {
		return nil, nil
	}
	if len(src) == 0 {
		return nil, fmt.Errorf("list: want at least 5 bytes, got 0")
	}
	r := listReader{src: src[1:]}
	switch {
	case src[0] == listFixed && l.size > 0:
		return l.decodeFixed(&r)
	case src[0] == listVariable && l.size == 0:
		return l.decodeVariable(&r)
	default:
		return nil, fmt.Errorf("list: want form %d, got %d", l.form(), src[0])
	}
}

func (l list[T]) form() int {
	if l.size > 0 {
		return listFixed
	}
	return listVariable
}

// decodeFixed bounds what it allocates by what src holds: 4 bytes stand for a null, size bytes for another element.
func (l list[T]) decodeFixed(r *listReader) ([]T, error) {
	nulls, err := r.count(4)
	if err != nil {
		return nil, fmt.Errorf("list: nulls: %w", err)
	}
	indexes := r.take(4 * nulls)
	n, err := r.length()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	if n < nulls || (n-nulls)*l.size != len(r.src) {
		return nil, fmt.Errorf("list: want %d elements and %d nulls in %d bytes, got %d bytes",
			n, nulls, max(n-nulls, 0)*l.size, len(r.src))
	}
	v := make([]T, n)
	next := 0 // where the next null should be at the earliest: indexes ascend
	isNull := func(i int) bool {
		return next < len(indexes) && int(binary.BigEndian.Uint32(indexes[next:])) == i
	}
	for i := range v {
		if isNull(i) {
			if !l.nilable {
				return nil, fmt.Errorf("list: element %d: null in a list of a type without null", i)
			}
			next += 4
			continue
		}
		if len(r.src) == 0 {
			break
		}
		if v[i], err = l.elem.Decode(r.take(l.size)); err != nil {
			return nil, fmt.Errorf("list: element %d: %w", i, err)
		}
	}
	if next != len(indexes) || len(r.src) > 0 {
		return nil, fmt.Errorf("list: the %d indexes of nulls are not an ascending part of %d elements", nulls, n)
	}
	return v, nil
}

func (l list[T]) decodeVariable(r *listReader) ([]T, error) {
	n, err := r.count(4)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	// An element may be far larger in memory than the 4 bytes that announce it: start small, and grow with the input.
	v := make([]T, 0, min(n, 64))
	for i := range n {
		raw, null, err := r.element()
		if err != nil {
			return nil, fmt.Errorf("list: element %d of %d: %w", i, n, err)
		}
		var e T
		switch {
		case !null:
			e, err = l.elem.Decode(raw)
		case !l.nilable:
			err = fmt.Errorf("null in a list of a type without null")
		}
		if err != nil {
			return nil, fmt.Errorf("list: element %d: %w", i, err)
		}
		v = append(v, e)
	}
	if len(r.src) > 0 {
		return nil, fmt.Errorf("list: %d bytes after the last element", len(r.src))
	}
	return slices.Clip(v), nil
}

func (l list[T]) Local() Serde[[]T] {
	l.elem = Local(l.elem)
	return l
}

func (l list[T]) Check() error { return Check(l.elem) }

// listReader walks the bytes of a list; take is called only for what is known to be there.
type listReader struct{ src []byte }

func (r *listReader) take(n int) []byte {
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *listReader) length() (int, error) {
	if len(r.src) < 4 {
		return 0, fmt.Errorf("want 4 bytes of a length, got %d", len(r.src))
	}
	n := int32(binary.BigEndian.Uint32(r.take(4)))
	if n < 0 {
		return 0, fmt.Errorf("want a length of 0 or more, got %d", n)
	}
	return int(n), nil
}

// count reads a number of things that take at least size bytes each.
func (r *listReader) count(size int) (int, error) {
	n, err := r.length()
	if err != nil {
		return 0, err
	}
	if n > len(r.src)/size {
		return 0, fmt.Errorf("%d elements in %d bytes", n, len(r.src))
	}
	return n, nil
}

func (r *listReader) element() (raw []byte, null bool, err error) {
	if len(r.src) < 4 {
		return nil, false, fmt.Errorf("want 4 bytes of a length, got %d", len(r.src))
	}
	n := int(int32(binary.BigEndian.Uint32(r.take(4))))
	switch {
	case n == -1:
		return nil, true, nil
	case n < 0:
		return nil, false, fmt.Errorf("want a length of -1 or more, got %d", n)
	case n > len(r.src):
		return nil, false, fmt.Errorf("want %d bytes, got %d", n, len(r.src))
	}
	return r.take(n), false, nil
}

// sizeOf returns the number of bytes that every value of s takes, or 0.
func sizeOf(s any) int {
	switch s := s.(type) {
	case coded:
		return sizeOfCoder(s.own())
	case interface{ size() int }:
		return s.size()
	default:
		return 0
	}
}
