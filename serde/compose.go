package serde

import "fmt"

// Compose2 makes a T the composition of two parts: it sorts by the first, then by the second. split and join take a T
// apart and put it together. A struct of plain fields needs no Compose: Ordered does it.
func Compose2[T, A, B any](a Part[A], b Part[B], split func(T) (A, B), join func(A, B) T) Part[T] {
	return composed[T, A, B]{a, b, split, join, IsNilable[T]()}
}

// Compose3 is Compose2 with three parts. More are made by composing compositions.
func Compose3[T, A, B, C any](
	a Part[A], b Part[B], c Part[C], split func(T) (A, B, C), join func(A, B, C) T,
) Part[T] {
	return Compose2(a, PairOf(b, c),
		func(v T) (A, Pair[B, C]) {
			a, b, c := split(v)
			return a, Pair[B, C]{b, c}
		},
		func(a A, p Pair[B, C]) T { return join(a, p.First, p.Second) },
	)
}

// A Pair is two values that together make a key, for when a type of one's own is too much.
type Pair[A, B any] struct {
	First  A
	Second B
}

// PairOf returns the Part of a Pair: it sorts by First, then by Second.
func PairOf[A, B any](a Part[A], b Part[B]) Part[Pair[A, B]] {
	return Compose2(a, b,
		func(p Pair[A, B]) (A, B) { return p.First, p.Second },
		func(a A, b B) Pair[A, B] { return Pair[A, B]{a, b} },
	)
}

type composed[T, A, B any] struct {
	a       Part[A]
	b       Part[B]
	split   func(T) (A, B)
	join    func(A, B) T
	nilable bool
}

func (c composed[T, A, B]) Append(dst []byte, v T) ([]byte, error) {
	if c.nilable && firstWordNil(&v) {
		return dst, errNull("composition")
	}
	a, b := c.split(v)
	out, err := c.a.Append(dst, a)
	if err != nil {
		return dst, fmt.Errorf("first part: %w", err)
	}
	if out, err = c.b.Append(out, b); err != nil {
		return dst, fmt.Errorf("second part: %w", err)
	}
	return out, nil
}

func (c composed[T, A, B]) Decode(src []byte) (v T, err error) {
	if src == nil && c.nilable {
		return v, nil
	}
	v, rest, err := c.Next(src)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("composition: %d bytes after the last part", len(rest))
	}
	return v, err
}

func (c composed[T, A, B]) Next(src []byte) (v T, rest []byte, err error) {
	a, rest, err := c.a.Next(src)
	if err != nil {
		return v, nil, fmt.Errorf("first part: %w", err)
	}
	b, rest, err := c.b.Next(rest)
	if err != nil {
		return v, nil, fmt.Errorf("second part: %w", err)
	}
	return c.join(a, b), rest, nil
}

func (c composed[T, A, B]) Check() error {
	if err := Check(c.a); err != nil {
		return err
	}
	return Check(c.b)
}

// Descending turns the order of a part round: the largest value comes first. Its bytes are those of the part, inverted.
func Descending[T any](p Part[T]) Part[T] { return descending[T]{p} }

type descending[T any] struct{ part Part[T] }

func (d descending[T]) Append(dst []byte, v T) ([]byte, error) {
	out, err := d.part.Append(dst, v)
	if err != nil {
		return dst, err
	}
	invert(out[len(dst):])
	return out, nil
}

func (d descending[T]) Decode(src []byte) (v T, err error) {
	if src == nil && IsNilable[T]() {
		return v, nil
	}
	v, rest, err := d.Next(src)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("descending: %d bytes after the value", len(rest))
	}
	return v, err
}

// Next inverts a copy of all of src, for it can't know where the value ends.
func (d descending[T]) Next(src []byte) (v T, rest []byte, err error) {
	ascending := append(make([]byte, 0, len(src)), src...)
	invert(ascending)
	v, rest, err = d.part.Next(ascending)
	if err != nil {
		return v, nil, fmt.Errorf("descending: %w", err)
	}
	return v, src[len(src)-len(rest):], nil
}

func (d descending[T]) Check() error { return Check(d.part) }

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}
