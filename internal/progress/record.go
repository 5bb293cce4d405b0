// Package progress has the records of an application's progress topic, <application>-progress: one partition,
// compacted. It says which topics are the application's own and what fills its stores, and which topic a committed
// offset belongs to, since a name alone says neither.
//
//	key:    version 1 = 1 │ kind 1 │ partition 4, -1: of no partition │ name
//	value:  version 1 = 1 │ fields: tag uvarint, length uvarint, bytes
//
// A value without bytes, or null, takes the record back. Kinds and tags that are not known are passed over, so that a
// later version may add some; what changes the meaning of those that are there gets another version.
package progress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"thalweg/state"
)

// TopicName is the name of an application's progress topic.
func TopicName(application string) string { return application + suffix }

const suffix = "-progress"

const version = 1

// Kind is what a record is about.
type Kind uint8

// The kinds of records. Times are committed with the offsets of their task: in the same transaction, or before them.
// All others are written outside of transactions, so that their readers need not wait for one.
const (
	InternalTopic Kind = 1 // a changelog or repartition topic, by its name: it is the application's
	Store         Kind = 2 // a store, by its name: what it is and what fills it
	Input         Kind = 3 // a partition of an input: the topic id that its committed offset belongs to
	Start         Kind = 4 // a partition of a changelog: up to where the application knows that records are missing
	Filled        Kind = 5 // a partition of a store that an input fills, by the store's name: where the input began
	Absent        Kind = 6 // a store and a partition of an input: from where on it was processed without the store
	Time          Kind = 7 // a partition of an operator's time, whose name begins with its store's: how far it is
	Processes     Kind = 8 // of the application: which of them has which tasks, since its group was last balanced
)

// Key names a record.
type Key struct {
	Kind      Kind
	Name      string
	Partition int32 // -1: of no partition
}

// Value is what a record says. Fields that are zero are not written.
type Value struct {
	TopicID   [16]byte      // of the topic or input
	Cluster   string        // that has it
	Pending   bool          // a topic: it is not yet known whether another application has it
	Committed bool          // an input: an offset was committed; otherwise it is about to be
	StoreKind state.Kind    // of a store
	Formats   state.Formats // of a store
	Filling   state.Filling // of a store
	Topic     string        // that fills a store
	Form      string        // of the records of a repartition topic
	// Offset of a changelog, or of an input that fills a store: what is missing below it is known to be. Of an input that
	// is processed without a store: from where on.
	Offset  int64
	Expired int64 // of an input that fills a store: what is missing below it was to expire; see Endless
	Time    int64 // in milliseconds; below 0 it is no time, and means what the operator says
	// Processes is encoded by internal/assign.
	Processes string
}

// Endless is the Expired offset of an input whose policy lets records expire.
const Endless int64 = math.MaxInt64

// The tags of fields.
const (
	tagTopicID = iota + 1
	tagCluster
	tagPending
	tagCommitted
	tagStoreKind
	tagFilling
	tagTopic
	tagForm
	tagOffset
	tagExpired
	tagKeys
	tagValues
	tagTime
	tagProcesses
)

// AppendKey appends a record's key.
func AppendKey(dst []byte, k Key) []byte {
	dst = append(dst, version, byte(k.Kind))
	dst = binary.BigEndian.AppendUint32(dst, uint32(k.Partition))
	return append(dst, k.Name...)
}

// ErrForeign is the error of what is no record of a progress topic.
var ErrForeign = errors.New("progress topic: the record was written by something else")

// DecodeKey reads a record's key.
func DecodeKey(src []byte) (Key, error) {
	if len(src) < 6 {
		return Key{}, ErrForeign
	}
	if src[0] != version {
		return Key{}, fmt.Errorf("progress topic: the record's key has version %d, this program knows version %d", src[0],
			version)
	}
	return Key{Kind(src[1]), string(src[6:]), int32(binary.BigEndian.Uint32(src[2:]))}, nil
}

// AppendValue appends a record's value.
func AppendValue(dst []byte, v Value) []byte {
	dst = append(dst, version)
	field := func(tag uint64, value string, there bool) {
		if there {
			dst = binary.AppendUvarint(binary.AppendUvarint(dst, tag), uint64(len(value)))
			dst = append(dst, value...)
		}
	}
	flag := func(tag uint64, value uint8) { field(tag, string([]byte{value}), value != 0) }
	field(tagTopicID, string(v.TopicID[:]), v.TopicID != [16]byte{})
	field(tagCluster, v.Cluster, v.Cluster != "")
	flag(tagPending, truth(v.Pending))
	flag(tagCommitted, truth(v.Committed))
	flag(tagStoreKind, uint8(v.StoreKind))
	flag(tagFilling, uint8(v.Filling))
	field(tagTopic, v.Topic, v.Topic != "")
	field(tagForm, v.Form, v.Form != "")
	field(tagKeys, v.Formats.Keys, v.Formats.Keys != "")
	field(tagValues, v.Formats.Values, v.Formats.Values != "")
	number := func(tag uint64, value int64) {
		field(tag, string(binary.BigEndian.AppendUint64(nil, uint64(value))), value != 0)
	}
	number(tagOffset, v.Offset)
	number(tagExpired, v.Expired)
	number(tagTime, v.Time)
	field(tagProcesses, v.Processes, v.Processes != "")
	return dst
}

func truth(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// DecodeValue reads a record's value.
func DecodeValue(src []byte) (v Value, err error) {
	if len(src) == 0 {
		return v, ErrForeign
	}
	if src[0] != version {
		return v, fmt.Errorf("progress topic: the record has version %d, this program knows version %d", src[0], version)
	}
	for src = src[1:]; len(src) > 0; {
		tag, n := binary.Uvarint(src)
		if n <= 0 {
			return v, ErrForeign
		}
		size, m := binary.Uvarint(src[n:])
		if m <= 0 || size > uint64(len(src)-n-m) {
			return v, ErrForeign
		}
		field := src[n+m:][:size]
		src = src[n+m+len(field):]
		if err := v.take(tag, field); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (v *Value) take(tag uint64, field []byte) error {
	one := uint8(0)
	switch tag {
	case tagTopicID:
		if len(field) != len(v.TopicID) {
			return ErrForeign
		}
		v.TopicID = [16]byte(field)
	case tagPending, tagCommitted, tagStoreKind, tagFilling:
		if len(field) != 1 {
			return ErrForeign
		}
		one = field[0]
	case tagOffset, tagExpired, tagTime:
		if len(field) != 8 {
			return ErrForeign
		}
	}
	switch tag {
	case tagCluster:
		v.Cluster = string(field)
	case tagPending:
		v.Pending = one != 0
	case tagCommitted:
		v.Committed = one != 0
	case tagStoreKind:
		v.StoreKind = state.Kind(one)
	case tagFilling:
		v.Filling = state.Filling(one)
	case tagTopic:
		v.Topic = string(field)
	case tagForm:
		v.Form = string(field)
	case tagKeys:
		v.Formats.Keys = string(field)
	case tagValues:
		v.Formats.Values = string(field)
	case tagOffset:
		v.Offset = int64(binary.BigEndian.Uint64(field))
	case tagExpired:
		v.Expired = int64(binary.BigEndian.Uint64(field))
	case tagTime:
		v.Time = int64(binary.BigEndian.Uint64(field))
	case tagProcesses:
		v.Processes = string(field)
	}
	return nil
}

// Owners are the applications, other than the one that asks, whose internal topic one of that name could be: those
// whose id the name begins with, up to a dash.
func Owners(topic, application string) []string {
	stem, ok := strings.CutSuffix(topic, "-changelog")
	if !ok {
		if stem, ok = strings.CutSuffix(topic, "-repartition"); !ok {
			return nil
		}
	}
	var owners []string
	for i := 1; i < len(stem); i++ {
		if stem[i] == '-' && stem[:i] != application && i+1 < len(stem) {
			owners = append(owners, stem[:i])
		}
	}
	return owners
}
