// Package serdetest checks that a serde keeps the contract of serde.Serde.
package serdetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/proto"

	"thalweg/serde"
)

// Run checks s with the given values, and what serde.Local makes of it: round trip; the prefix of dst untouched, also
// on errors; src not modified; one encoding per value; no panic on bytes that are cut off, changed or random, and what
// is accepted can be encoded again; safe use by several goroutines. It logs the allocations of both directions.
//
// Values are compared with ==, Equal methods, proto.Equal or reflect.DeepEqual, whichever fits first; NaN equals NaN.
// Give at least one value, and the awkward ones: zero, the extremes, empty and long strings, nil inside a struct.
func Run[T any](t *testing.T, s serde.Serde[T], values ...T) {
	t.Helper()
	if len(values) == 0 {
		t.Fatal("serdetest: no values: nothing would be tested")
	}
	if err := serde.Check(s); err != nil {
		t.Fatalf("serdetest: Check: %v", err)
	}
	run := func(name string, check func(*testing.T, serde.Serde[T], []T)) {
		t.Run(name, func(t *testing.T) { check(t, s, values) })
		t.Run(name+"/local", func(t *testing.T) { check(t, serde.Local(s), values) })
	}
	run("round trip", roundTrip[T])
	run("deterministic", deterministic[T])
	run("damaged", damaged[T])
	run("null", null[T])
	run("allocations", allocations[T])
	t.Run("concurrent", func(t *testing.T) { concurrent(t, s, values) })
}

// RunOrdered is Run, and checks that the bytes of any two of the values compare as compare says, that no value's
// bytes begin with another's, and that Next stops at the end of the value.
func RunOrdered[T any](t *testing.T, s serde.Part[T], compare func(a, b T) int, values ...T) {
	t.Helper()
	Run[T](t, s, values...)
	t.Run("order", func(t *testing.T) {
		for _, a := range values {
			for _, b := range values {
				order(t, s, compare, a, b)
			}
		}
	})
}

func order[T any](t *testing.T, s serde.Part[T], compare func(a, b T) int, a, b T) {
	t.Helper()
	x, y := encode(t, s, a), encode(t, s, b)
	want := compare(a, b)
	if got := bytes.Compare(x, y); sign(got) != sign(want) {
		t.Errorf("order of %v and %v: want %d, got %d: % x, % x", a, b, sign(want), got, x, y)
	}
	if want != 0 && len(x) > 0 && bytes.HasPrefix(y, x) {
		t.Errorf("the bytes of %v begin with those of %v: % x, % x", b, a, y, x)
	}
	v, rest, err := s.Next(slices.Concat(x, y))
	if err != nil || !bytes.Equal(rest, y) {
		t.Errorf("Next of %v before %v: rest % x, error %v", a, b, rest, err)
	} else if compare(v, a) != 0 {
		t.Errorf("Next: want %v, got %v", a, v)
	}
}

func sign(n int) int {
	return min(max(n, -1), 1)
}

func roundTrip[T any](t *testing.T, s serde.Serde[T], values []T) {
	for _, v := range values {
		raw := encode(t, s, v)
		src := slices.Clip(bytes.Clone(raw))
		got, err := s.Decode(src)
		if err != nil {
			t.Errorf("decode of %v (% x): %v", show(v), raw, err)
			continue
		}
		if !equal(v, got) {
			t.Errorf("round trip: want %v, got %v (% x)", show(v), show(got), raw)
		}
		if !bytes.Equal(src, raw) {
			t.Errorf("decode of %v modified src: % x became % x", show(v), raw, src)
		}
	}
}

// encode encodes v behind prefixes, with and without spare room, and checks that they stay.
func encode[T any](t *testing.T, s serde.Serde[T], v T) []byte {
	t.Helper()
	plain, err := s.Append(nil, v)
	if err != nil {
		t.Fatalf("append of %v: %v", show(v), err)
	}
	if plain == nil {
		t.Fatalf("append of %v to nil gives nil, which would be taken for a null", show(v))
	}
	for _, spare := range []int{0, 1, 4096} {
		prefix := append(make([]byte, 0, 6+spare), "prefix"...)
		out, err := s.Append(prefix, v)
		if err != nil {
			t.Fatalf("append of %v: %v", show(v), err)
		}
		if !bytes.HasPrefix(out, []byte("prefix")) || string(prefix) != "prefix" {
			t.Fatalf("append of %v to a prefix changed it: %q", show(v), out)
		}
		if !bytes.Equal(out[6:], plain) {
			t.Fatalf("append of %v depends on dst: % x, % x", show(v), plain, out[6:])
		}
	}
	return plain
}

func deterministic[T any](t *testing.T, s serde.Serde[T], values []T) {
	for _, v := range values {
		want := encode(t, s, v)
		for range 20 {
			if got := encode(t, s, v); !bytes.Equal(got, want) {
				t.Fatalf("two encodings of %v: % x, % x", show(v), want, got)
			}
		}
		back, err := s.Decode(want)
		if err != nil {
			t.Fatalf("decode of %v: %v", show(v), err)
		}
		if got := encode(t, s, back); !bytes.Equal(got, want) {
			t.Errorf("encoding of %v after a round trip: want % x, got % x", show(v), want, got)
		}
	}
}

// damaged feeds hostile bytes: a panic fails the test by itself.
func damaged[T any](t *testing.T, s serde.Serde[T], values []T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	try := func(src []byte) {
		before := bytes.Clone(src)
		v, err := s.Decode(src)
		if !bytes.Equal(src, before) {
			t.Fatalf("decode modified src: % x became % x", before, src)
		}
		if err != nil || (serde.IsNilable[T]() && serde.NullOf[T]()(&v)) {
			return
		}
		if _, err := s.Append(nil, v); err != nil {
			t.Fatalf("decode of % x accepts %v, which append refuses: %v", src, show(v), err)
		}
	}
	for _, v := range values {
		raw := encode(t, s, v)
		for n := range min(len(raw), 300) {
			try(slices.Clip(bytes.Clone(raw[:n])))
		}
		for range 300 {
			bad := append(bytes.Clone(raw), byte(rng.Uint32()))
			for range 1 + rng.IntN(3) {
				bad[rng.IntN(len(bad))] = byte(rng.Uint32())
			}
			try(bad[:len(bad)-rng.IntN(2)])
		}
	}
	for range 300 {
		bad := make([]byte, rng.IntN(40))
		for i := range bad {
			bad[i] = byte(rng.Uint32())
		}
		try(bad)
	}
}

func null[T any](t *testing.T, s serde.Serde[T], _ []T) {
	isNull := serde.NullOf[T]()
	if isNull == nil {
		return
	}
	var nilValue T
	if out, err := s.Append([]byte("x"), nilValue); err == nil || string(out) != "x" {
		t.Errorf("append of null: want an error and dst as it was, got %q, %v", out, err)
	}
	if v, err := s.Decode(nil); err != nil || !isNull(&v) {
		t.Errorf("decode of null: want nil, got %v, %v", show(v), err)
	}
	if v, err := s.Decode([]byte{}); err == nil && isNull(&v) {
		t.Error("decode of an empty value gives null")
	}
}

func allocations[T any](t *testing.T, s serde.Serde[T], values []T) {
	for i, v := range values[:min(len(values), 3)] {
		raw := encode(t, s, v)
		dst := make([]byte, 0, len(raw))
		in := testing.AllocsPerRun(50, func() { _, _ = s.Append(dst, v) })
		out := testing.AllocsPerRun(50, func() { _, _ = s.Decode(raw) })
		t.Logf("value %d: %d bytes; append %v allocations, decode %v", i, len(raw), in, out)
	}
}

func concurrent[T any](t *testing.T, s serde.Serde[T], values []T) {
	want := make([][]byte, len(values))
	for i, v := range values {
		want[i] = encode(t, s, v)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := range 50 * len(values) {
				i := n % len(values)
				raw, err := s.Append(nil, values[i])
				if err != nil || !bytes.Equal(raw, want[i]) {
					t.Errorf("concurrent append of %v: % x, %v", show(values[i]), raw, err)
					return
				}
				if v, err := s.Decode(raw); err != nil || !equal(v, values[i]) {
					t.Errorf("concurrent decode of %v: %v, %v", show(values[i]), show(v), err)
					return
				}
			}
		})
	}
	group.Wait()
}

func equal[T any](a, b T) bool {
	if m, ok := any(a).(proto.Message); ok {
		return proto.Equal(m, any(b).(proto.Message))
	}
	if e, ok := any(a).(interface{ Equal(T) bool }); ok {
		return e.Equal(b)
	}
	if x, y := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem(); x.Comparable() && y.Comparable() {
		if any(a) == any(b) || any(a) != any(a) && any(b) != any(b) { // the latter: NaN
			return true
		}
	}
	return assert.ObjectsAreEqual(a, b)
}

// show keeps long values short in messages.
func show(v any) string {
	s := fmt.Sprintf("%#v", v)
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
