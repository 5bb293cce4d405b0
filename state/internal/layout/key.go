// Package layout is the bytes of the engine's keys and values, and of the changelog keys of windows and sessions.
//
// Everything that a task's store keeps in the engine lies in one range, so that it is dropped with one range delete:
//
//	namespace │ length 1 │ store name │ kind 1 │ …
//	          │          │            │ 0x00     position      value: next offset of its topic, 8 │
//	          │          │            │                            version 1 │ synced 8 │ origin
//	          │          │            │ 0x01     │ key         value: timestamp 8 │ value
//	          │          │            │ 0x02     │ segment 8 │ key │ start 8           windows
//	          │          │            │ 0x02     │ segment 8 │ key │ end 8 │ start 8   sessions
//	          │          │            │ 0x02     │ segment 8 │ sequence 4 │ time 8 │ key   join buffers: in memory, too
//	          │          │            │ 0x02     │ segment 8 │ 0x80 │ number 4            a part of what is not:
//	          │          │            │            rows 8 │ highest sequence 4 │ filter of its keys
//	          │          │            │ 0x02     │ segment 8 │ 0xc0 │ key │ time 8 │ sequence 4   and its rows
//	          │          │            │ 0x03     segments      value: their length in milliseconds, 8 │
//	          │          │            │                            the newest time written, 8; -1: none
//
// What expires together lies together: a segment is dropped with one range delete. Integers are big-endian, and the
// times of windows are never negative, so that bytes order as numbers do. The namespace is a partition number of 4
// bytes (-1: the global stores), so none is the prefix of another; the name is preceded by its length for the same
// reason. The version of these formats is a byte in the state directory.
package layout

import (
	"encoding/binary"
	"fmt"
)

// Version is the version of the formats in the engine. OldestVersion is the oldest one that is read: in version 1
// positions have no origin, in version 2 no time, and in version 3 no names of formats.
const (
	Version       = 4
	OldestVersion = 1
)

// The kinds of a store's rows.
const (
	KindPosition byte = 0
	KindKey      byte = 1
	KindExpiring byte = 2
	KindSegments byte = 3
	kindEnd      byte = 4
)

// In a segment of a join buffer these bytes stand where the first one of a sequence is smaller.
const (
	BufferPart byte = 0x80
	BufferCold byte = 0xc0
)

// Namespace is the beginning of all keys of a partition.
func Namespace(partition int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(partition)) }

// Store appends the beginning of all keys of a store.
func Store(dst, namespace []byte, name string) []byte {
	dst = append(dst, namespace...)
	dst = append(dst, byte(len(name)))
	return append(dst, name...)
}

// SplitStore returns the partition and the name of the store that a key belongs to.
func SplitStore(key []byte) (partition int32, name string, err error) {
	const head = 4 + 1
	if len(key) < head || len(key) <= head+int(key[4]) {
		return 0, "", fmt.Errorf("key %x: it is too short for a store's", key)
	}
	return int32(binary.BigEndian.Uint32(key)), string(key[head : head+int(key[4])]), nil
}

// StoreEnd appends the end of the range that begins with a store's prefix.
func StoreEnd(dst, store []byte) []byte { return append(append(dst, store...), kindEnd) }

// After returns the end of the range of keys that begin with prefix, or nil where there is none: prefix is all 0xff.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

// AppendNumber appends a number that lies in a row of its own.
func AppendNumber(dst []byte, number int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(number))
}

// Number reads what AppendNumber wrote.
func Number(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, fmt.Errorf("number row: want 8 bytes, got %d", len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

// AppendSegments appends the value of a segments row.
func AppendSegments(dst []byte, interval, newest int64) []byte {
	return AppendNumber(AppendNumber(dst, interval), newest)
}

// Segments reads the value of a segments row. One of an earlier build says no newest time, which is -1 then.
func Segments(src []byte) (interval, newest int64, err error) {
	switch len(src) {
	case 8:
		newest = -1
	case 16:
		newest = int64(binary.BigEndian.Uint64(src[8:]))
	default:
		return 0, 0, fmt.Errorf("segments row: want 8 or 16 bytes, got %d", len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), newest, nil
}

// TimestampBytes is the length of the timestamp before a value.
const TimestampBytes = 8

// AppendTimestamp appends the head of a value row.
func AppendTimestamp(dst []byte, timestamp int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(timestamp))
}

// Value splits a value row into timestamp and value.
func Value(src []byte) (timestamp int64, value []byte, err error) {
	if len(src) < TimestampBytes {
		return 0, nil, fmt.Errorf("value row: want at least %d bytes, got %d", TimestampBytes, len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), src[TimestampBytes:], nil
}
