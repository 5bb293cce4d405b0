package txn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

func (t *txn) key() []byte {
	key := kmsg.NewTxnMetadataKey()
	key.TransactionalID = t.id
	return key.AppendTo(nil)
}

func (t *txn) record() coord.Record {
	v := kmsg.NewTxnMetadataValue()
	v.Version = 1
	v.ProducerID = t.pid
	v.ProducerEpoch = t.epoch
	v.TimeoutMillis = int32(t.timeout.Milliseconds())
	v.State = t.state
	v.LastUpdateTimestamp = t.update.UnixMilli()
	v.StartTimestamp = -1
	if !t.start.IsZero() {
		v.StartTimestamp = t.start.UnixMilli()
	}
	v.PreviousProducerID = t.prevPID
	v.NextProducerID = t.nextPID
	v.ClientTransactionVersion = t.version
	tps := make([]TopicPartition, 0, len(t.partitions))
	for tp := range t.partitions {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, comparePartitions)
	for _, tp := range tps {
		if n := len(v.Topics); n == 0 || v.Topics[n-1].Topic != tp.Topic {
			topic := kmsg.NewTxnMetadataValueTopic()
			topic.Topic = tp.Topic
			v.Topics = append(v.Topics, topic)
		}
		last := &v.Topics[len(v.Topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	return coord.Record{Key: t.key(), Value: v.AppendTo(nil)}
}

// Replay implements coord.Machine.
func (m *Machine) Replay(r coord.Record, _ *coord.Producer, now time.Time) error {
	if len(r.Key) < 2 || binary.BigEndian.Uint16(r.Key) != 0 {
		return fmt.Errorf("txn: record with key %q: unknown key version", r.Key)
	}
	key := kmsg.NewTxnMetadataKey()
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("txn: record with key %q: %w", r.Key, err)
	}
	id := key.TransactionalID
	if r.Value == nil {
		m.forget(id)
		return nil
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("txn: record of transactional id %q: %w", id, err)
	}
	m.apply(id, &v, now)
	return nil
}

func (m *Machine) forget(id string) {
	if t := m.txns[id]; t != nil {
		delete(m.txns, id)
		delete(m.byPID, t.pid)
		m.timers.Stop(id)
	}
}

// apply makes v the state of id.
func (m *Machine) apply(id string, v *kmsg.TxnMetadataValue, now time.Time) {
	t := m.txns[id]
	if t == nil {
		t = &txn{id: id, pid: -1}
		m.txns[id] = t
	}
	if t.pid != v.ProducerID {
		delete(m.byPID, t.pid)
		m.byPID[v.ProducerID] = id
	}
	if !t.preparing() { // else it was set when the transaction's end began
		t.retryEpoch = retryEpoch(v)
	}
	t.pid, t.epoch = v.ProducerID, v.ProducerEpoch
	t.prevPID, t.nextPID = v.PreviousProducerID, v.NextProducerID
	t.timeout = time.Duration(v.TimeoutMillis) * time.Millisecond
	t.state, t.version = v.State, v.ClientTransactionVersion
	t.update = time.UnixMilli(v.LastUpdateTimestamp)
	t.start = time.Time{}
	if v.StartTimestamp >= 0 {
		t.start = time.UnixMilli(v.StartTimestamp)
	}
	t.partitions = make(map[TopicPartition]struct{})
	for _, topic := range v.Topics {
		for _, p := range topic.Partitions {
			t.partitions[TopicPartition{topic.Topic, p}] = struct{}{}
		}
	}
	switch {
	case t.preparing():
		m.timers.Stop(id)
		return // those that wait keep waiting
	case t.state == kmsg.TransactionStateOngoing:
		m.timers.Set(id, t.start.Add(t.timeout))
	default:
		m.timers.Set(id, t.update.Add(m.cfg.IDExpiry))
	}
	if t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}

// retryEpoch is the epoch of the EndTxn that made v, if one did.
func retryEpoch(v *kmsg.TxnMetadataValue) int16 {
	switch {
	case v.ClientTransactionVersion < 2 || v.State == kmsg.TransactionStateOngoing:
		return -1
	case v.PreviousProducerID >= 0 && v.ProducerEpoch == 0:
		return maxEpoch
	default:
		return v.ProducerEpoch - 1
	}
}

// ReplayMarker implements coord.Machine: no transaction writes into the coordinator's own log.
func (m *Machine) ReplayMarker(coord.Producer, bool) {}

// Snapshot implements coord.Machine.
func (m *Machine) Snapshot(emit func(coord.Record)) {
	for _, t := range m.txns {
		emit(t.record())
	}
}
