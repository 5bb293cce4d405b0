package workload

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// compareKeyed compares the last row of each key with the last record of that key in the data set, which is generated
// once more. It keeps 8 bytes for a key.
func (p *place) compareKeyed(ctx context.Context, e *encoded, out string, r *Result) error {
	want, got := make([]uint64, e.set.keyed.keys), make([]uint64, e.set.keyed.keys)
	err := e.each(func(_ int32, timestamp int64, key, value []byte) error {
		return note(want, timestamp, key, value)
	})
	if err != nil {
		return err
	}
	var odd error
	err = p.read(ctx, out, func(r *kgo.Record) {
		if err := note(got, r.Timestamp.UnixMilli(), r.Key, r.Value); err != nil && odd == nil {
			odd = err
		}
	})
	if err == nil {
		err = odd
	}
	if err != nil {
		return err
	}
	for k, hash := range want {
		if got[k] != hash {
			return fmt.Errorf("bench: the last row of key %d is not the last record of the data set", k)
		}
		if hash != 0 {
			r.Results++
		}
	}
	r.Checked = fmt.Sprintf("%d rows, the last records of the data set", r.Results)
	return nil
}

// note sets the hash of a key's last row.
func note(rows []uint64, timestamp int64, key, value []byte) error {
	digits, found := bytes.CutPrefix(key, []byte(keyPrefix))
	k, err := strconv.Atoi(string(digits))
	if !found || err != nil || k >= len(rows) {
		return fmt.Errorf("bench: %q is no key of the data set", key)
	}
	const seed = 14695981039346656037
	rows[k] = fnv(fnv(seed, value), binary.BigEndian.AppendUint64(nil, uint64(timestamp))) | 1 // 0: no row
	return nil
}
