package serde

import "sync"

// shared makes a serde with scratch space safe for concurrent use by a pool of them.
type shared[T any] struct {
	make func() Serde[T]
	pool *sync.Pool
}

func share[T any](newLocal func() Serde[T]) Serde[T] {
	return shared[T]{newLocal, &sync.Pool{New: func() any { return newLocal() }}}
}

func (s shared[T]) Append(dst []byte, v T) ([]byte, error) {
	l := s.pool.Get().(Serde[T])
	dst, err := l.Append(dst, v)
	s.pool.Put(l)
	return dst, err
}

func (s shared[T]) Decode(src []byte) (T, error) {
	l := s.pool.Get().(Serde[T])
	v, err := l.Decode(src)
	s.pool.Put(l)
	return v, err
}

func (s shared[T]) Local() Serde[T] { return s.make() }
func (s shared[T]) Check() error    { return Check(s.make()) }
