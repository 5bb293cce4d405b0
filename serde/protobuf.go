package serde

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Proto returns the serde of a protobuf message: its wire format, in the library's deterministic form (which may
// change from one version of the library to the next: a message is no good as the key of a store). T is the generated
// pointer type. The nil message is null.
func Proto[T proto.Message]() Serde[T] { return protobuf[T]{} }

// protobuf serves a T that implements proto.Message; For has no way to say so in the type.
type protobuf[T any] struct{}

func (protobuf[T]) Append(dst []byte, v T) ([]byte, error) {
	m := any(v).(proto.Message)
	if firstWordNil(&v) {
		return dst, errNull(fmt.Sprintf("%T", v))
	}
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(notNil(dst), m)
	if err != nil {
		return dst, fmt.Errorf("%T: protobuf: %w", v, err)
	}
	return out, nil
}

func (protobuf[T]) Decode(src []byte) (v T, err error) {
	if src == nil {
		return v, nil
	}
	m := any(v).(proto.Message).ProtoReflect().Type().New().Interface()
	if err := proto.Unmarshal(src, m); err != nil {
		return v, fmt.Errorf("%T: protobuf: %d bytes: %w", v, len(src), err)
	}
	return m.(T), nil
}
