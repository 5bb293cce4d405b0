package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// InvalidRecord is a record that a batch was refused for.
type InvalidRecord struct {
	Index   int32 // in its batch
	Message string
}

// InvalidRecordsError names all records that made a batch unacceptable. It wraps INVALID_TIMESTAMP where a timestamp is
// out of range, as in Kafka, and otherwise INVALID_RECORD.
type InvalidRecordsError struct {
	Records []InvalidRecord
	cause   *kerr.Error
}

// Error names the first records.
func (e *InvalidRecordsError) Error() string {
	const shown = 3
	var b strings.Builder
	fmt.Fprintf(&b, "%d invalid records", len(e.Records))
	for _, r := range e.Records[:min(shown, len(e.Records))] {
		fmt.Fprintf(&b, "; record %d: %s", r.Index, r.Message)
	}
	return b.String()
}

// Unwrap returns the protocol's error.
func (e *InvalidRecordsError) Unwrap() error { return e.cause }

// validate checks what can be checked without the log's state, and completes what a client left open: the largest
// timestamp. Retention and look-ups by time go by it, so it is never taken on trust.
func (l *Log) validate(batches []byte, config *Config, origin Origin) error {
	if len(batches) == 0 {
		return fmt.Errorf("no batches: %w", kerr.CorruptMessage)
	}
	now := l.options.Now()
	for len(batches) > 0 {
		b, rest, err := batch.Parse(batches)
		if err == nil && origin == OriginClient {
			err = b.Verify()
		}
		if err != nil {
			return protocolError(err)
		}
		batches = rest
		if err := validateHeader(b, config, origin); err != nil {
			return err
		}
		if err := l.validateRecords(b, config, origin, now); err != nil {
			return err
		}
	}
	return nil
}

func validateHeader(b batch.Batch, config *Config, origin Origin) error {
	switch {
	case origin != OriginCoordinator && b.Size() > config.MaxBatchBytes:
		return fmt.Errorf("batch of %d bytes, at most %d (max.message.bytes): %w",
			b.Size(), config.MaxBatchBytes, kerr.MessageTooLarge)
	case b.Count() == 0 || b.Count() != int(b.LastOffsetDelta())+1:
		return fmt.Errorf("batch of %d records in %d offsets: %w", b.Count(), b.LastOffsetDelta()+1, kerr.InvalidRecord)
	case b.IsControl():
		return fmt.Errorf("a control batch from outside: %w", kerr.InvalidRecord)
	case b.ProducerID() < 0 && b.IsTransactional():
		return fmt.Errorf("a transactional batch without a producer id: %w", kerr.InvalidRecord)
	case b.ProducerID() >= 0 && (b.ProducerEpoch() < 0 || origin != OriginCoordinator && b.BaseSequence() < 0):
		return fmt.Errorf("producer %d with epoch %d and sequence %d: %w",
			b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), kerr.InvalidRecord)
	}
	return nil
}

// validateRecords refuses a batch whose records a reader could not read, or whose records the topic does not take. A
// batch of this process' own encoder is walked only where its header does not say enough.
func (l *Log) validateRecords(b batch.Batch, config *Config, origin Origin, now time.Time) error {
	v := recordRules{keys: config.Compact, earliest: math.MinInt64, latest: math.MaxInt64}
	if !config.LogAppendTime {
		if config.TimestampBeforeMax > 0 {
			v.earliest = now.Add(-config.TimestampBeforeMax).UnixMilli()
		}
		if config.TimestampAfterMax > 0 {
			v.latest = now.Add(config.TimestampAfterMax).UnixMilli()
		}
	}
	if origin == OriginCoordinator ||
		origin == OriginProcess && !v.keys && v.earliest == math.MinInt64 && b.MaxTimestamp() <= v.latest {
		return nil
	}
	d, held, err := l.decoder(b)
	if err != nil {
		return err
	}
	defer l.decoded(d, held)
	found, err := d.Inspect(b, nil)
	switch {
	case errors.Is(err, batch.ErrTooLarge):
		return protocolError(err)
	case err != nil:
		return fmt.Errorf("%w: %w", kerr.InvalidRecord, err)
	}
	if !v.accepts(found) { // once more, for the records to blame
		if _, err := d.Inspect(b, v.look); err != nil {
			return protocolError(err)
		}
		if err := v.err(); err != nil {
			return err
		}
	}
	if origin == OriginClient {
		batch.SetCreateTime(b.Bytes(), found.MaxTimestamp)
	}
	return nil
}

// decoder returns what checks a batch, when there is memory for what is decompressed at a time. Call decoded after it.
func (l *Log) decoder(b batch.Batch) (d *batch.Decoder, held int64, err error) {
	if held = b.InspectBytes(); held > 0 {
		if err := l.options.Memory.checks.Enter(context.Background(), held); err != nil { // its holders wait for nothing
			return nil, 0, err
		}
	}
	if held <= pooledBytesMax {
		d, _ = l.decoders.Get().(*batch.Decoder)
	}
	if d == nil {
		d = new(batch.Decoder)
	}
	return d, held, nil
}

func (l *Log) decoded(d *batch.Decoder, held int64) {
	if held <= pooledBytesMax {
		l.decoders.Put(d)
	}
	if held > 0 {
		l.options.Memory.checks.Leave(held)
	}
}

// pooledBytesMax is the most that a decoder may have needed that stays for other batches.
const pooledBytesMax = 4 << 20

// recordRules are what a topic asks of each record.
type recordRules struct {
	keys             bool  // compaction could not place a record without one
	earliest, latest int64 // milliseconds
	invalid          []InvalidRecord
	outOfTime        bool
}

// noTimestamp is what a record without a time has. It is never out of range, as in Kafka.
const noTimestamp = -1

func (v *recordRules) accepts(c batch.Contents) bool {
	return !(v.keys && c.NullKeys) && c.MaxTimestamp <= v.latest && c.MinTimestamp >= v.earliest
}

func (v *recordRules) look(r batch.RecordInfo) {
	var why string
	switch {
	case r.Timestamp != noTimestamp && (r.Timestamp < v.earliest || r.Timestamp > v.latest):
		v.outOfTime = true
		why = fmt.Sprintf("timestamp %d is out of range: the topic takes %d to %d (message.timestamp.before.max.ms and "+
			"message.timestamp.after.max.ms)", r.Timestamp, v.earliest, v.latest)
	case v.keys && r.NullKey:
		why = "a record of a compacted topic needs a key"
	default:
		return
	}
	v.invalid = append(v.invalid, InvalidRecord{int32(r.Index), why})
}

func (v *recordRules) err() error {
	switch {
	case len(v.invalid) == 0: // only records without a time are out of range
		return nil
	case v.outOfTime:
		return &InvalidRecordsError{v.invalid, kerr.InvalidTimestamp}
	default:
		return &InvalidRecordsError{v.invalid, kerr.InvalidRecord}
	}
}
