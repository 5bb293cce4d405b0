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
// Both topics keep order within a partition, and nothing keeps it between the partitions of different foreign keys.
// Yet the result is, when all has arrived, the join of the last rows:
//
//   - The hash of the left row goes along and back, and a response to another row than the newest is dropped. A row of
//     a left join is always answered, and so the newest one is, last of all.
//   - In an inner join a row is answered only if there is a right row, except where it named another key before. So
//     that there is none holds for a newer row, too, that names the same key.
//   - A row of an inner join that is the first to name a key, after none did, relies on it that nothing is joined. That
//     is what the response to [UnsubscribeAndTell] brings about. Where it meets a row that names a key again, it can't
//     tell which of two keys' responses came first, and asks that key again.
//   - A key that an inner join's row named before, and names again, may have an old response on its way that fits the
//     row as well. Behind each such response comes the one to [Unsubscribe] that took the old subscription away.
//   - Rows of tables are read as they were last emitted: what the other side hears, in order, and what it is answered
//     are the same rows. A row that comes and goes between two commits is not emitted, and so nobody sees it. A row
//     that there was, and that has changed, will be emitted and answered again: that need not be done twice.

// Instruction is what a subscription asks for.
type Instruction byte

// The instructions, as Kafka Streams numbers them, and two that it does not have.
const (
	Unsubscribe        Instruction = iota // forget, say nothing
	UnsubscribeAndTell                    // forget, and answer that the row names no key any more
	TellAlways                            // subscribe, and answer even that there is no row
	TellIfThere                           // subscribe, and answer if there is a row
	Ask                                   // answer, even that there is no row
	Leave                                 // forget, and answer that the row names another key
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
	if len(src) < 6 || src[0]&^noHash != foreignVersion || src[1] > byte(Leave) {
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

// Answer is what a response says.
type Answer byte

// The answers.
const (
	NoRow Answer = iota // there is no right row
	ARow
	Gone // the left row names no key any more
	Left // the left row names another key: this one has no result any more
)

// Response is a right row, for one left row that is interested.
type Response[FV any] struct {
	Hash      [16]byte
	HasHash   bool
	Says      Answer
	Row       FV
	Foreign   []byte // without a row: the key that it is about, encoded
	Partition int32  // where it goes; not encoded
}

// Responses encodes responses:
//
//	no hash(1 bit) version(7 bits) · hash(16, if any) · answer(1) · row, or else the foreign key
type Responses[FV any] struct{ Rows serde.Serde[FV] }

// Append appends the response.
func (s Responses[FV]) Append(dst []byte, r Response[FV]) ([]byte, error) {
	var out []byte
	if r.HasHash {
		out = append(append(dst, foreignVersion), r.Hash[:]...)
	} else {
		out = append(dst, foreignVersion|noHash)
	}
	out = append(out, byte(r.Says))
	if r.Says != ARow {
		return append(out, r.Foreign...), nil
	}
	out, err := s.Rows.Append(out, r.Row)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Check says why the serdes within can never work, or nil.
func (s Responses[FV]) Check() error { return serde.Check(s.Rows) }

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
	if r.Says = Answer(rest[0]); r.Says > Left {
		return r, errForeign
	}
	if r.Says == ARow {
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

// subscriptionOf is subscriptionKey of a record that is not decoded yet.
func subscriptionOf(dst, foreign, value []byte) []byte {
	s, err := Subscriptions{}.Decode(value)
	if err != nil {
		return dst
	}
	return subscriptionKey(dst, foreign, s.Key)
}
