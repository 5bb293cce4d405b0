package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// A Part is a Serde whose bytes sort as its values do, and of which no value's bytes begin with those of another.
// Parts can therefore follow one another: the bytes of a composed key sort by its first part, then by its second, and
// the bytes of a first part are exactly the prefix of the keys that have it.
type Part[T any] interface {
	Serde[T]

	// Next decodes the value at the head of src and returns what follows it.
	Next(src []byte) (v T, rest []byte, err error)
}

// Ordered returns the order-preserving serde of T: a bool, int, float, string, []byte, [N]byte, time.Time,
// time.Duration, a type declared over one of them, or a struct of them, which sorts by its fields from first to last
// (unexported ones too). The order is that of cmp.Compare, bytes.Compare and time.Time.Compare. Any other type gets a
// serde that Check refuses.
//
//	bool                  0 or 1
//	uint8 … uint64, uint  1, 2, 4, 8 and 8 bytes, big-endian
//	int8 … int64, int     the same with the sign bit flipped
//	float32, float64      IEEE 754, big-endian, positive: the sign bit flipped, negative: all bits flipped;
//	                      NaN, which sorts first: all 0; -0 is written as 0
//	string, []byte        the bytes, each 00 as 00 FF; then 00 01
//	[N]byte, uuid.UUID    the bytes
//	time.Time             seconds since 1970 (8, sign bit flipped) ‖ nanoseconds (4)
//	struct                its fields, one after the other
func Ordered[T any]() Part[T] {
	return &ordered[T]{orderedFormOf(reflect.TypeOf((*T)(nil)).Elem())}
}

type ordered[T any] struct{ orderedForm }

// orderedForm is the order-preserving encoding of a type.
type orderedForm struct {
	of      reflect.Type
	name    string
	fields  []orderedField // a type that is no struct is a single field
	nilable bool
	why     error // there is none
}

func orderedFormOf(t reflect.Type) orderedForm {
	o := orderedForm{of: t, name: "ordered " + t.String(), nilable: isNilable(t)}
	o.why = o.addFields(t, 0, "")
	return o
}

// orderly is a serde that has an orderedForm. It has one method for that, as coded has.
type orderly interface{ orderedBy() *orderedForm }

func (o *orderedForm) orderedBy() *orderedForm { return o }

type orderedField struct {
	kind   builtin
	size   uintptr // of an array, in bytes
	offset uintptr // in the value
	name   string  // for errors: "" or " field A.B"
}

// addFields flattens the fields of t, which lies at offset in the value. A struct that is empty, or empty but for blank
// fields, adds nothing: all its values are equal.
func (o *orderedForm) addFields(t reflect.Type, offset uintptr, path string) error {
	f := orderedField{kind: orderedKind(t), size: t.Size(), offset: offset}
	if path != "" {
		f.name = " field " + path[1:]
	}
	if f.kind != notBuiltin {
		o.fields = append(o.fields, f)
		return nil
	}
	if t.Kind() != reflect.Struct {
		return errUnsupported(o.of, "no order-preserving encoding of%s %s", f.name, t)
	}
	for sub := range t.Fields() {
		if sub.Name == "_" {
			continue
		}
		if err := o.addFields(sub.Type, offset+sub.Offset, path+"."+sub.Name); err != nil {
			return err
		}
	}
	return nil
}

// orderedKind goes by the representation alone: methods say nothing about order.
func orderedKind(t reflect.Type) builtin {
	switch k := t.Kind(); k {
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return notBuiltin
		}
	case reflect.Array:
		if t.Elem().Kind() != reflect.Uint8 {
			return notBuiltin
		}
	case reflect.Struct:
		if !t.ConvertibleTo(reflect.TypeFor[time.Time]()) {
			return notBuiltin
		}
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
	default:
		return notBuiltin
	}
	return builtin(t.Kind())
}

func (o *ordered[T]) Append(dst []byte, v T) ([]byte, error) {
	return o.append(dst, unsafe.Pointer(&v))
}

func (o *ordered[T]) Decode(src []byte) (v T, err error) {
	if err = o.whole(src, unsafe.Pointer(&v)); err != nil {
		var zero T
		v = zero
	}
	return v, err
}

func (o *ordered[T]) Next(src []byte) (v T, rest []byte, err error) {
	if rest, err = o.next(src, unsafe.Pointer(&v)); err != nil {
		var zero T
		return zero, nil, err
	}
	return v, rest, nil
}

// whole decodes all of src.
func (o *orderedForm) whole(src []byte, v unsafe.Pointer) error {
	if src == nil && o.nilable {
		return nil
	}
	rest, err := o.next(src, v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%s: %d bytes after the value", o.name, len(rest))
	}
	return err
}

func (o *orderedForm) append(dst []byte, v unsafe.Pointer) ([]byte, error) {
	if o.why != nil {
		return dst, o.why
	}
	out := notNil(dst)
	for i := range o.fields {
		f := &o.fields[i]
		var ok bool
		if out, ok = appendOrdered(out, f, unsafe.Add(v, f.offset)); !ok {
			return dst, errNull(o.name + f.name)
		}
	}
	return out, nil
}

func (o *orderedForm) next(src []byte, v unsafe.Pointer) (_ []byte, err error) {
	if o.why != nil {
		return nil, o.why
	}
	for i := range o.fields {
		f := &o.fields[i]
		if src, err = nextOrdered(src, f, unsafe.Add(v, f.offset)); err != nil {
			return nil, fmt.Errorf("%s%s: %w", o.name, f.name, err)
		}
	}
	return src, nil
}

const signBit = 1 << 63

// appendOrdered appends the value of field f at p. It fails for a nil []byte alone.
func appendOrdered(dst []byte, f *orderedField, p unsafe.Pointer) ([]byte, bool) {
	switch reflect.Kind(f.kind) {
	case reflect.Bool:
		if *(*bool)(p) {
			return append(dst, 1), true
		}
		return append(dst, 0), true
	case reflect.String:
		return appendTerminated(dst, *(*string)(p)), true
	case reflect.Slice:
		b := *(*[]byte)(p)
		return appendTerminated(dst, viewString(b)), b != nil
	case reflect.Array:
		return append(dst, unsafe.Slice((*byte)(p), f.size)...), true
	case reflect.Struct:
		t := (*time.Time)(p)
		dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix())^signBit)
		return binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond())), true
	case reflect.Float32:
		return binary.BigEndian.AppendUint32(dst, orderFloat32(*(*float32)(p))), true
	case reflect.Float64:
		return binary.BigEndian.AppendUint64(dst, orderFloat64(*(*float64)(p))), true
	case reflect.Int:
		return binary.BigEndian.AppendUint64(dst, uint64(*(*int)(p))^signBit), true
	case reflect.Int64:
		return binary.BigEndian.AppendUint64(dst, *(*uint64)(p)^signBit), true
	case reflect.Int32:
		return binary.BigEndian.AppendUint32(dst, *(*uint32)(p)^1<<31), true
	case reflect.Int16:
		return binary.BigEndian.AppendUint16(dst, *(*uint16)(p)^1<<15), true
	case reflect.Int8:
		return append(dst, *(*uint8)(p)^1<<7), true
	case reflect.Uint:
		return binary.BigEndian.AppendUint64(dst, uint64(*(*uint)(p))), true
	case reflect.Uint64:
		return binary.BigEndian.AppendUint64(dst, *(*uint64)(p)), true
	case reflect.Uint32:
		return binary.BigEndian.AppendUint32(dst, *(*uint32)(p)), true
	case reflect.Uint16:
		return binary.BigEndian.AppendUint16(dst, *(*uint16)(p)), true
	default:
		return append(dst, *(*uint8)(p)), true
	}
}

// nextOrdered decodes the head of src into field f at p.
func nextOrdered(src []byte, f *orderedField, p unsafe.Pointer) ([]byte, error) {
	k := reflect.Kind(f.kind)
	if k == reflect.String || k == reflect.Slice {
		s, rest, err := cutTerminated(src)
		if err != nil {
			return nil, err
		}
		if k == reflect.String {
			*(*string)(p) = viewString(s)
		} else {
			*(*[]byte)(p) = s
		}
		return rest, nil
	}
	size := f.width()
	if len(src) < size {
		return nil, fmt.Errorf("want %d bytes, got %d", size, len(src))
	}
	return src[size:], f.decodeFixed(src[:size], p)
}

// width is the number of bytes that every value of the field takes.
func (f *orderedField) width() int {
	switch reflect.Kind(f.kind) {
	case reflect.Struct:
		return instantSize
	case reflect.Int, reflect.Uint:
		return 8
	default:
		return int(f.size)
	}
}

func (f *orderedField) decodeFixed(src []byte, p unsafe.Pointer) (err error) {
	switch reflect.Kind(f.kind) {
	case reflect.Bool:
		if src[0] > 1 {
			return fmt.Errorf("want 0 or 1, got %d", src[0])
		}
		*(*bool)(p) = src[0] == 1
	case reflect.Array:
		copy(unsafe.Slice((*byte)(p), f.size), src)
	case reflect.Struct:
		*(*time.Time)(p), err = instantOf(binary.BigEndian.Uint64(src)^signBit, binary.BigEndian.Uint32(src[8:]))
	case reflect.Float32:
		*(*float32)(p), err = floatOf32(binary.BigEndian.Uint32(src))
	case reflect.Float64:
		*(*float64)(p), err = floatOf64(binary.BigEndian.Uint64(src))
	case reflect.Int:
		*(*int)(p), err = intOf(binary.BigEndian.Uint64(src) ^ signBit)
	case reflect.Uint:
		*(*uint)(p), err = uintOf(binary.BigEndian.Uint64(src))
	case reflect.Int64:
		*(*uint64)(p) = binary.BigEndian.Uint64(src) ^ signBit
	case reflect.Int32:
		*(*uint32)(p) = binary.BigEndian.Uint32(src) ^ 1<<31
	case reflect.Int16:
		*(*uint16)(p) = binary.BigEndian.Uint16(src) ^ 1<<15
	case reflect.Int8:
		*(*uint8)(p) = src[0] ^ 1<<7
	case reflect.Uint64:
		*(*uint64)(p) = binary.BigEndian.Uint64(src)
	case reflect.Uint32:
		*(*uint32)(p) = binary.BigEndian.Uint32(src)
	case reflect.Uint16:
		*(*uint16)(p) = binary.BigEndian.Uint16(src)
	default:
		*(*uint8)(p) = src[0]
	}
	return err
}

// orderFloat64 maps floats to ints of the same order. A value has one image only: equal keys must be equal bytes.
func orderFloat64(v float64) uint64 {
	switch {
	case v != v:
		return 0
	case v == 0:
		return signBit
	case v < 0:
		return ^math.Float64bits(v)
	default:
		return math.Float64bits(v) ^ signBit
	}
}

func floatOf64(bits uint64) (float64, error) {
	v := math.NaN()
	switch {
	case bits == 0:
	case bits&signBit == 0:
		v = math.Float64frombits(^bits)
	default:
		v = math.Float64frombits(bits ^ signBit)
	}
	if orderFloat64(v) != bits {
		return 0, fmt.Errorf("%016x is no ordered float64", bits)
	}
	return v, nil
}

func orderFloat32(v float32) uint32 {
	switch {
	case v != v:
		return 0
	case v == 0:
		return 1 << 31
	case v < 0:
		return ^math.Float32bits(v)
	default:
		return math.Float32bits(v) ^ 1<<31
	}
}

func floatOf32(bits uint32) (float32, error) {
	v := float32(math.NaN())
	switch {
	case bits == 0:
	case bits&(1<<31) == 0:
		v = math.Float32frombits(^bits)
	default:
		v = math.Float32frombits(bits ^ 1<<31)
	}
	if orderFloat32(v) != bits {
		return 0, fmt.Errorf("%08x is no ordered float32", bits)
	}
	return v, nil
}
