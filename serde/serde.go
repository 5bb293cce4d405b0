// Package serde turns keys and values into bytes and back.
//
// # Which serde a type gets
//
// For[T] goes by the type, first match wins:
//
//  1. bool, the ints, the floats, string, []byte, [16]byte and uuid.UUID, other [N]byte, time.Time, time.Duration,
//     and types declared over one of them that have no encoding methods of their own (type CustomerID string);
//  2. a pointer to one of these, and a slice of them (List);
//  3. a proto.Message (Proto);
//  4. the type's own methods, where both directions are there, on T or on *T:
//     AppendBinary or MarshalBinary, with UnmarshalBinary;
//     MarshalMsg with UnmarshalMsg (what tinylib/msgp generates);
//     AppendMsgpack or MarshalMsgpack, with UnmarshalMsgpack;
//     AppendText or MarshalText, with UnmarshalText (not where EncodeMsgpack and DecodeMsgpack are there);
//  5. MessagePack (Msgpack).
//
// MessagePack keeps exported fields only. So a struct that has unexported ones as well is refused by Check where its
// serde goes by type: export them, tag them msgpack:"-", give the type methods, or name the serde (Msgpack[T]()), which
// says that it is meant.
//
// Methods count also when they come from an embedded field: a struct that embeds a time.Time is encoded as that time
// alone, as in encoding/json. Give such a field a name, or the topic a serde.
//
// # Bytes
//
//	bool                          1 byte, 0 or 1
//	int8 … int64, uint8 … uint64  1, 2, 4, 8 bytes, big-endian, two's complement
//	int, uint                     as int64, uint64
//	float32, float64              4, 8 bytes, IEEE 754, big-endian
//	string, []byte, [N]byte       the bytes as they are
//	[16]byte, uuid.UUID           36 characters: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
//	time.Time                     seconds since 1970 (8, two's complement) ‖ nanoseconds (4), big-endian; decoded in UTC
//	time.Duration                 as int64, nanoseconds
//	*X                            as X; nil is null
//	[]X                           as Kafka's list serializer writes it: see List
//
// All of these but time.Time are what Kafka's own serializer of the corresponding Java type writes. None of them keeps
// the order of negative numbers; Ordered does.
//
// # Null
//
// Null is not empty. A serde never sees a null: null is a flag beside the bytes, kept by the caller, who asks NullOf.
// Append refuses a nil value of a nilable type (pointer, slice, map, interface); Decode of a nil src gives nil for such
// a type, and Decode of an empty one does not.
//
// # Bytes that are kept
//
// Decode may return views of src (String and Bytes do): src is immutable and never reused, so a view is valid for ever
// but must not be written to, and holds the whole fetched batch in memory: strings.Clone what is kept for long.
package serde

// A Serde encodes and decodes values of one type. It is safe for concurrent use, unless it comes from Local.
type Serde[T any] interface {
	// Append appends the encoding of v to dst and returns the longer slice, which is not nil: the encoding of an empty
	// string appended to nil is empty, and nil would mean null. On an error the returned slice is dst. It retains
	// neither dst nor v.
	Append(dst []byte, v T) ([]byte, error)

	// Decode decodes the whole of src and does not modify it. The value may hold views of src.
	Decode(src []byte) (T, error)
}

// Local returns a serde equal to s for the use of one goroutine at a time: it may keep scratch space, and so spares
// the pool that the shared one goes to. A task takes one when it is built. A serde without scratch is its own local.
//
// A Serde of one's own takes part by having the method Local() Serde[T].
func Local[T any](s Serde[T]) Serde[T] {
	if c, ok := s.(coded); ok {
		own := c.own()
		if own.cells == nil {
			return s
		}
		return &value[T]{coder{cells: own.cells.local()}}
	}
	if l, ok := s.(interface{ Local() Serde[T] }); ok {
		return l.Local()
	}
	return s
}

// Check returns why a serde can never work, such as a type without an encoding (For[chan int]), or nil. Building a
// topology asks it, so that the mistake shows there and not at the first record.
//
// A Serde of one's own takes part by having the method Check() error.
func Check(s any) error {
	switch s := s.(type) {
	case coded:
		return checkCoder(s.own())
	case orderly:
		return s.orderedBy().why
	case interface{ Check() error }:
		return s.Check()
	default:
		return nil
	}
}

// CheckKey returns why s, a Serde, is no good for keys although it encodes its values, or nil. Equal keys must have
// equal bytes: MessagePack writes most maps in no fixed order, so a type with a map inside is no key. Building a
// topology asks it for the keys of stores and of topics that are written.
//
// A Serde of one's own takes part by having the method CheckKey() error.
func CheckKey(s any) error {
	switch s := s.(type) {
	case coded:
		if c := s.own().cells; c != nil {
			return c.noKey
		}
		return nil
	case interface{ CheckKey() error }:
		return s.CheckKey()
	default:
		return nil
	}
}
