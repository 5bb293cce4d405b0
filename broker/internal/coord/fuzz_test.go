package coord_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/meta"
	"thalweg/broker/internal/txn"
)

// machines are new ones of all kinds.
func machines() []coord.Machine {
	return []coord.Machine{
		group.New(group.Config{
			MinSessionTimeout: time.Second, MaxSessionTimeout: time.Hour, OffsetRetention: time.Hour,
			MaxMetadataBytes: 100, MaxMembers: 10,
		}),
		txn.New(txn.Config{MaxTimeout: time.Hour, IDExpiry: time.Hour}),
		meta.New(),
	}
}

// packed writes records as the fuzzer changes them: lengths and bytes of keys and values; a value of length 65535 is
// null.
func packed(records ...coord.Record) []byte {
	var out []byte
	for _, r := range records {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(r.Key))), r.Key...)
		if r.Value == nil {
			out = binary.BigEndian.AppendUint16(out, 0xffff)
		} else {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(r.Value))), r.Value...)
		}
	}
	return out
}

func unpacked(src []byte) (records []coord.Record) {
	field := func() []byte {
		if len(src) < 2 {
			src = nil
			return nil
		}
		n := int(binary.BigEndian.Uint16(src))
		src = src[2:]
		if n == 0xffff {
			return nil
		}
		n = min(n, len(src))
		value := src[:n:n]
		src = src[n:]
		return value
	}
	for len(src) > 0 {
		records = append(records, coord.Record{Key: field(), Value: field()})
	}
	return records
}

func snapshotOf(m coord.Machine) (records []string) {
	m.Snapshot(func(r coord.Record) { records = append(records, string(packed(r))) })
	slices.Sort(records)
	return records
}

// FuzzReplay gives coordinators arbitrary records, also of transactions that commit or abort. What they accept is in
// their snapshot, and a replay of that gives the same.
func FuzzReplay(f *testing.F) {
	now := time.UnixMilli(1_700_000_000_000)
	offset, group := kmsg.NewOffsetCommitKey(), kmsg.NewGroupMetadataKey()
	offset.Version, offset.Group, offset.Topic = 1, "g", "t"
	committed := kmsg.NewOffsetCommitValue()
	committed.Version, committed.Offset, committed.CommitTimestamp = 3, 5, now.UnixMilli()
	group.Version, group.Group = 2, "g"
	members := kmsg.NewGroupMetadataValue()
	members.Version, members.ProtocolType, members.Generation = 3, "consumer", 2
	members.Protocol, members.Leader = kmsg.StringPtr("range"), kmsg.StringPtr("m")
	member := kmsg.NewGroupMetadataValueMember()
	member.MemberID, member.SessionTimeoutMillis, member.Assignment = "m", 10_000, []byte("a")
	members.Members = append(members.Members, member)
	f.Add(byte(0), packed(coord.Record{Key: offset.AppendTo(nil), Value: committed.AppendTo(nil)},
		coord.Record{Key: group.AppendTo(nil), Value: members.AppendTo(nil)}, coord.Record{Key: group.AppendTo(nil)}))
	f.Add(byte(3), packed(coord.Record{Key: offset.AppendTo(nil), Value: committed.AppendTo(nil)}))
	id := kmsg.NewTxnMetadataKey()
	id.TransactionalID = "tx"
	state := kmsg.NewTxnMetadataValue()
	state.Version, state.State, state.ProducerID, state.TimeoutMillis = 1, kmsg.TransactionStateOngoing, 7, 1000
	topic := kmsg.NewTxnMetadataValueTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 1}
	state.Topics = append(state.Topics, topic)
	f.Add(byte(1), packed(coord.Record{Key: id.AppendTo(nil), Value: state.AppendTo(nil)},
		coord.Record{Key: id.AppendTo(nil)}))
	f.Add(byte(2), packed(
		coord.Record{Key: []byte("topic/t"), Value: []byte(`{"v":1,"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8",` +
			`"partitions":4,"configs":{"a":"b"}}`)},
		coord.Record{Key: []byte("remove/u"), Value: []byte(`{"v":1,"first":0,"end":4}`)},
		coord.Record{Key: []byte("producer-ids"), Value: []byte(`{"v":1,"next":3000}`)},
		coord.Record{Key: []byte("cluster"), Value: []byte(`{"v":1,"id":"x"}`)}))
	f.Fuzz(func(t *testing.T, mode byte, src []byte) {
		kind := int(mode) % 3
		m := machines()[kind]
		producer := &coord.Producer{ID: 7}
		if mode/3%3 == 0 {
			producer = nil
		}
		for _, r := range unpacked(src) {
			if m.Replay(r, producer, now) != nil {
				break
			}
		}
		m.ReplayMarker(coord.Producer{ID: 7}, mode/3%3 == 1)
		m.Deadline()
		again := machines()[kind]
		m.Snapshot(func(r coord.Record) { require.NoError(t, again.Replay(r, nil, now)) })
		require.Equal(t, snapshotOf(m), snapshotOf(again))
		for range 3 {
			step := m.Tick(now.Add(48 * time.Hour))
			for _, r := range step.Records {
				require.NoError(t, m.Replay(r, step.Producer, now))
			}
			for _, after := range step.After {
				after(nil)
			}
		}
	})
}
