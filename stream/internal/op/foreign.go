package op

import (
	"encoding/binary"
	"errors"

	"thalweg/serde"
)

// A join by a foreign key goes over two internal topics. The left side subscribes to the key that its row names:
//
//	left row → Subscription, under the foreign key → kept with the right table
//	right row, or a new subscription → Response, under the left key, to the left task's partition → joined
//
// The hash of the left row goes along and back: a response to a row that is no longer the newest is dropped. But one
// that tells an inner join that there is no right row holds for a newer left row, too, which names the same key: that
// one is answered only if there is a row, and what an older one was joined to has to go.

// Instruction is what a subscription asks for.
type Instruction byte

// The instructions, as Kafka Streams numbers them.
const (
	Unsubscribe        Instruction = iota // forget, say nothing
	UnsubscribeAndTell                    // forget, and answer that there is no row
	TellAlways                            // subscribe, and answer even that there is no row
	TellIfThere                           // subscribe, and answer if there is a row
)

// Subscription is a left row's interest in a right row.
type Subscription struct {
	Hash        [16]byte // of the left row
	HasHash     bool     // false: the left row is gone
	Instruction Instruction
	Key         []byte // the left row's key, encoded
	Partition   int32  // of the left task
}

// Subscriptions encodes subscriptions, as Kafka Streams does:
//
//	no hash(1 bit) version(7 bits) · instruction(1) · hash(16, if any) · key · partition(4)
type Subscriptions struct{}

const (
	foreignVersion byte = 1
	noHash         byte = 0x80
)

var errForeign = errors.New("foreign-key join: a record is cut short, or of another version")

// Append appends the subscription.
func (Subscriptions) Append(dst []byte, s Subscription) ([]byte, error) {
	if s.HasHash {
		dst = append(append(dst, foreignVersion, byte(s.Instruction)), s.Hash[:]...)
	} else {
		dst = append(dst, foreignVersion|noHash, byte(s.Instruction))
	}
	return binary.BigEndian.AppendUint32(append(dst, s.Key...), uint32(s.Partition)), nil
}

// Decode reads what Append wrote.
func (Subscriptions) Decode(src []byte) (s Subscription, err error) {
	if len(src) < 6 || src[0]&^noHash != foreignVersion || src[1] > byte(TellIfThere) {
		return s, errForeign
	}
	s.Instruction = Instruction(src[1])
	rest := src[2:]
	if src[0]&noHash == 0 {
		if len(rest) < 20 {
			return s, errForeign
		}
		s.HasHash = true
		rest = rest[copy(s.Hash[:], rest):]
	}
	at := len(rest) - 4
	s.Key = rest[:at:at]
	s.Partition = int32(binary.BigEndian.Uint32(rest[at:]))
	return s, nil
}

// Response is a right row, for one left row that is interested.
type Response[FV any] struct {
	Hash      [16]byte
	HasHash   bool
	Row       FV
	HasRow    bool
	Foreign   []byte // without a row: the key under which there is none, encoded
	Partition int32  // where it goes; not encoded
}

// Responses encodes responses:
//
//	no hash(1 bit) version(7 bits) · hash(16, if any) · there is a row(1) · row, or else the foreign key
type Responses[FV any] struct{ Rows serde.Serde[FV] }

// Append appends the response.
func (s Responses[FV]) Append(dst []byte, r Response[FV]) ([]byte, error) {
	var out []byte
	if r.HasHash {
		out = append(append(dst, foreignVersion), r.Hash[:]...)
	} else {
		out = append(dst, foreignVersion|noHash)
	}
	if !r.HasRow {
		return append(append(out, 0), r.Foreign...), nil
	}
	out, err := s.Rows.Append(append(out, 1), r.Row)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode reads what Append wrote.
func (s Responses[FV]) Decode(src []byte) (r Response[FV], err error) {
	if len(src) == 0 || src[0]&^noHash != foreignVersion {
		return r, errForeign
	}
	rest := src[1:]
	if src[0]&noHash == 0 {
		if len(rest) < 16 {
			return r, errForeign
		}
		r.HasHash = true
		rest = rest[copy(r.Hash[:], rest):]
	}
	if len(rest) == 0 {
		return r, errForeign
	}
	if r.HasRow = rest[0] == 1; r.HasRow {
		r.Row, err = s.Rows.Decode(rest[1:])
	} else {
		r.Foreign = rest[1:]
	}
	return r, err
}

// subscriptionKey is where a subscription is kept: all of one foreign key lie together.
//
//	length(4) foreign key · left key
func subscriptionKey(dst, foreign, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(foreign)))
	return append(append(dst, foreign...), key...)
}
