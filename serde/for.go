package serde

import "github.com/vmihailenco/msgpack/v5"

// For returns the serde of T by its type.
func For[T any]() Serde[T] {
	for _, s := range []any{String{}, Bytes{}, Int64{}} {
		if s, ok := s.(Serde[T]); ok {
			return s
		}
	}
	return Msgpack[T]()
}

// Msgpack returns the MessagePack serde of T.
func Msgpack[T any]() Serde[T] { return mp[T]{} }

type mp[T any] struct{}

func (mp[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := msgpack.Marshal(v)
	return append(dst, b...), err
}

func (mp[T]) Decode(src []byte) (v T, err error) {
	err = msgpack.Unmarshal(src, &v)
	return v, err
}
