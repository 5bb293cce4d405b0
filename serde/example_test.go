package serde_test

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"thalweg/serde"
)

func ExampleFor() {
	type CustomerID string
	text, _ := serde.For[CustomerID]().Append(nil, "c-42")
	number, _ := serde.For[int]().Append(nil, -2)
	fmt.Printf("%q\n% x\n", text, number)

	_, err := serde.For[int64]().Decode([]byte("short"))
	fmt.Println(err)
	// Output:
	// "c-42"
	// ff ff ff ff ff ff ff fe
	// int64: want 8 bytes, got 5
}

func ExampleString() {
	src := []byte("a view of these bytes")
	s, _ := serde.String{}.Decode(src)
	fmt.Println(s)
	// Output: a view of these bytes
}

func ExampleBytes() {
	b, err := serde.Bytes{}.Append(nil, []byte{})
	fmt.Println(b != nil, err)
	_, err = serde.Bytes{}.Append(nil, nil)
	fmt.Println(err)
	// Output:
	// true <nil>
	// bytes: null has no bytes: the caller writes it as null (see NullOf)
}

func ExampleInt64() {
	b, _ := serde.Int64{}.Append([]byte("n="), 258)
	fmt.Printf("%q\n", b)
	// Output: "n=\x00\x00\x00\x00\x00\x00\x01\x02"
}

func ExampleCheck() {
	type Job struct{ Done chan bool }
	fmt.Println(serde.Check(serde.For[string]()))
	fmt.Println(serde.Check(serde.JSON[Job]()) != nil)
	// Output:
	// <nil>
	// true
}

// Equal keys must have equal bytes. MessagePack writes a map in no fixed order, JSON sorts it.
func ExampleCheckKey() {
	type labels struct{ Of map[string]int }
	fmt.Println(serde.CheckKey(serde.For[labels]()) != nil)
	fmt.Println(serde.CheckKey(serde.JSON[labels]()))
	// Output:
	// true
	// <nil>
}

func ExampleLocal() {
	shared := serde.Msgpack[map[string]string]() // for every goroutine
	mine := serde.Local(shared)                  // for this one
	b, _ := mine.Append(nil, map[string]string{"b": "2", "a": "1"})
	fmt.Printf("%q\n", b)
	// Output: "\x82\xa1a\xa11\xa1b\xa12"
}

func ExampleNullOf() {
	isNull := serde.NullOf[[]byte]()
	none, empty := []byte(nil), []byte{}
	fmt.Println(isNull(&none), isNull(&empty), serde.NullOf[string]() == nil)
	// Output: true false true
}

func ExampleIsNilable() {
	fmt.Println(serde.IsNilable[*int](), serde.IsNilable[int]())
	// Output: true false
}

func ExamplePointer() {
	s := serde.Pointer(serde.For[string]())
	b, _ := s.Append(nil, new("there"))
	v, _ := s.Decode(b)
	null, _ := s.Decode(nil)
	fmt.Println(*v, null == nil)
	// Output: there true
}

func ExampleList() {
	s := serde.List(serde.For[string]())
	b, _ := s.Append(nil, []string{"a", "bc"})
	v, _ := s.Decode(b)
	fmt.Printf("%q %q\n", b, v)
	// Output: "\x01\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc" ["a" "bc"]
}

type reading struct {
	Sensor string  `json:"sensor" msgpack:"sensor"`
	Value  float64 `json:"value" msgpack:"value"`
}

func ExampleJSON() {
	s := serde.JSON[reading]()
	b, _ := s.Append(nil, reading{"roof", 21.5})
	fmt.Println(string(b))
	v, _ := s.Decode([]byte(`{"value": 20, "unknown": true}`))
	fmt.Printf("%+v\n", v)
	// Output:
	// {"sensor":"roof","value":21.5}
	// {Sensor: Value:20}
}

func ExampleMsgpack() {
	s := serde.Msgpack[reading]()
	b, _ := s.Append(nil, reading{"roof", 21.5})
	fmt.Printf("%q\n", b)
	// Output: "\x82\xa6sensor\xa4roof\xa5value\xcb@5\x80\x00\x00\x00\x00\x00"
}

func ExampleMsgpackArray() {
	s := serde.MsgpackArray[reading]()
	b, _ := s.Append(nil, reading{"roof", 21.5})
	fmt.Printf("%q\n", b)
	// Output: "\x92\xa4roof\xcb@5\x80\x00\x00\x00\x00\x00"
}

func ExampleProto() {
	s := serde.Proto[*wrapperspb.Int64Value]()
	b, _ := s.Append(nil, wrapperspb.Int64(7))
	v, _ := s.Decode(b)
	fmt.Printf("% x %d\n", b, v.Value)
	// Output: 08 07 7
}

func ExampleOrdered() {
	type Slot struct {
		Region string
		Hour   int
	}
	s := serde.Ordered[Slot]()
	var keys []string
	for _, v := range []Slot{{"eu", 3}, {"us", -1}, {"eu", -5}} {
		b, _ := s.Append(nil, v)
		keys = append(keys, string(b))
	}
	slices.Sort(keys)
	for _, k := range keys {
		v, _ := s.Decode([]byte(k))
		fmt.Println(v.Region, v.Hour)
	}
	// Output:
	// eu -5
	// eu 3
	// us -1
}

func ExampleDescending() {
	s := serde.Descending(serde.Ordered[time.Duration]())
	short, _ := s.Append(nil, time.Second)
	long, _ := s.Append(nil, time.Hour)
	fmt.Println(string(long) < string(short))
	// Output: true
}

func ExamplePairOf() {
	s := serde.PairOf(serde.Ordered[string](), serde.Ordered[uint16]())
	key, _ := s.Append(nil, serde.Pair[string, uint16]{First: "eu", Second: 3})
	prefix, _ := serde.Ordered[string]().Append(nil, "eu") // of all keys whose first part is "eu"
	fmt.Printf("%q\n%q\n", key, prefix)
	// Output:
	// "eu\x00\x01\x00\x03"
	// "eu\x00\x01"
}

func ExampleCompose2() {
	type Ref struct{ name, version string }
	s := serde.Compose2(serde.Ordered[string](), serde.Ordered[string](),
		func(r Ref) (string, string) { return r.name, r.version },
		func(name, version string) Ref { return Ref{name, version} })
	b, _ := s.Append(nil, Ref{"app", "1.2"})
	fmt.Printf("%q\n", b)
	// Output: "app\x00\x011.2\x00\x01"
}

func ExampleCompose3() {
	type day struct{ year, month, day uint8 }
	number := serde.Ordered[uint8]()
	s := serde.Compose3(number, number, number,
		func(d day) (uint8, uint8, uint8) { return d.year, d.month, d.day },
		func(y, m, d uint8) day { return day{y, m, d} })
	b, _ := s.Append(nil, day{26, 11, 24})
	fmt.Println(b)
	// Output: [26 11 24]
}

func ExampleVersioned() {
	// Version 1 was the bare name; version 2 is a struct.
	s := serde.Versioned(2, serde.Msgpack[reading](),
		serde.Upcast(1, serde.For[string](), func(name string) (reading, error) { return reading{Sensor: name}, nil }))
	v, _ := s.Decode([]byte("\x01roof"))
	fmt.Println(v.Sensor)
	_, err := s.Decode([]byte("\x03?"))
	fmt.Println(err)
	// Output:
	// roof
	// version 3: unknown: this program writes version 2 and reads 1 older ones
}

func ExampleUpcast() {
	cents := serde.Upcast(1, serde.For[float64](), func(euros float64) (int64, error) { return int64(euros * 100), nil })
	s := serde.Versioned(2, serde.For[int64](), cents)
	old, _ := serde.Versioned(1, serde.For[float64]()).Append(nil, 12.5)
	v, _ := s.Decode(old)
	fmt.Println(v)
	// Output: 1250
}
