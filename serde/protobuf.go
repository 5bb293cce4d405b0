package serde

import (
	"fmt"
	"reflect"
	"unsafe"

	"google.golang.org/protobuf/proto"
)

// Proto returns the serde of a protobuf message: its wire format, in the library's deterministic form (which may
// change from one version of the library to the next: a message is no good as the key of a store). T is the generated
// pointer type. The nil message is null.
func Proto[T proto.Message]() Serde[T] { return typed[T](protobuf(reflect.TypeFor[T]())) }

func protobuf(t reflect.Type) found {
	if t.Kind() != reflect.Pointer {
		return refuse(t, errUnsupported(t, "only a pointer to a protobuf message can be decoded"))
	}
	return found{coder: coder{form: form{kind: byProtobuf, of: t, how: &how{null: reflect.Zero(t).Interface()}}}}
}

func (f form) appendProtobuf(dst []byte, v unsafe.Pointer) ([]byte, error) {
	if v == nil {
		return dst, errNull(f.of.String())
	}
	m := boxed(f.how.null, v).(proto.Message)
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(notNil(dst), m)
	if err != nil {
		return dst, fmt.Errorf("%s: protobuf: %w", f.of, err)
	}
	return out, nil
}

func (f form) decodeProtobuf(src []byte, v *unsafe.Pointer) error {
	if src == nil {
		return nil
	}
	m := f.how.null.(proto.Message).ProtoReflect().Type().New().Interface()
	if err := proto.Unmarshal(src, m); err != nil {
		return fmt.Errorf("%s: protobuf: %d bytes: %w", f.of, len(src), err)
	}
	if reflect.TypeOf(m) != f.of { // it embeds a message, whose methods are not about all of it
		return fmt.Errorf("%s: protobuf: decoded a %T", f.of, m)
	}
	*v = reflect.ValueOf(m).UnsafePointer()
	return nil
}

// boxed returns a pointer as an interface of the type of null.
func boxed(null any, v unsafe.Pointer) any {
	(*[2]unsafe.Pointer)(unsafe.Pointer(&null))[1] = v
	return null
}
