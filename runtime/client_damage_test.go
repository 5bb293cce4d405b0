package runtime_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/runtime"
)

// damagedNotes is a harness whose topic of notes has three batches of two records: the bytes of the second one are
// wrong.
func damagedNotes(t *testing.T) *harness {
	t.Helper()
	fs := vfs.NewMem()
	h := newHarness(t, brokertest.On(fs))
	h.create(1, notes.Name())
	for i := range 3 {
		h.produce(
			&kgo.Record{Topic: notes.Name(), Value: fmt.Append(nil, 2*i)},
			&kgo.Record{Topic: notes.Name(), Value: fmt.Append(nil, 2*i+1)},
		)
	}
	h.reopen(fs, func() { h.breakBatch(fs, "broker/notes-0/00000000000000000000.log", 2) })
	return h
}

// breakBatch turns the last byte of the batch that begins at an offset.
func (h *harness) breakBatch(fs vfs.FS, path string, offset int64) {
	h.t.Helper()
	f, err := fs.Open(path)
	require.NoError(h.t, err)
	log, err := io.ReadAll(f)
	require.NoError(h.t, err)
	require.NoError(h.t, f.Close())
	for at := 0; ; {
		b, _, err := batch.Parse(log[at:])
		require.NoError(h.t, err)
		if at += b.Size(); b.BaseOffset() == offset {
			brokertest.Flip(h.t, fs, path, int64(at-1))
			return
		}
	}
}

// What can't be read comes as an error that says where it is and where reading goes on, and the loop may go on there.
func TestClientReadsBehindDamage(t *testing.T) {
	for _, requests := range []bool{false, true} {
		for _, group := range []string{"", "readers"} {
			t.Run(fmt.Sprintf("requests %t group %q", requests, group), func(t *testing.T) {
				h := damagedNotes(t)
				cfg := h.config()
				cfg.NoLocal = requests
				client := h.clientOf(cfg)
				from := runtime.Earliest()
				if group != "" {
					from = from.Group(group)
				}
				for range 2 { // who stops at it, meets it again
					for r, err := range client.Read(h.ctx, notes, from) {
						if err != nil {
							requireDamage(t, r, err)
							break
						}
					}
				}
				var values []string
				damaged := 0
				for r, err := range client.Read(h.ctx, notes, from) {
					if err != nil {
						requireDamage(t, r, err)
						damaged++
						continue
					}
					values = append(values, r.Value)
				}
				require.Equal(t, 1, damaged)
				require.Equal(t, []string{"4", "5"}, values[len(values)-2:])
				if group == "" {
					require.Equal(t, []string{"0", "1", "4", "5"}, values)
				}
				offsets, err := client.Offsets(h.ctx, notes, from)
				require.NoError(t, err)
				if group != "" {
					require.EqualValues(t, 6, offsets[0], "it is behind it")
				}
				require.Len(t, all(h, client, notes, runtime.FromOffset(4).Partitions(0)), 2, "as the error says")
			})
		}
	}
}

func requireDamage(t *testing.T, r runtime.Record[string, string], err error) {
	t.Helper()
	var damage *runtime.DamageError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, "notes", damage.Topic)
	require.Equal(t, []int64{0, 2, 4}, []int64{int64(damage.Partition), damage.Offset, damage.Next})
	require.ErrorContains(t, err, "topic notes partition 0 offset 2")
	require.ErrorContains(t, err, "to go on at offset 4")
	require.True(t, r.NullKey && r.NullValue)
	require.EqualValues(t, 2, r.Offset)
}

// A loop that ends before the damage does not meet it.
func TestClientReadsUpToDamage(t *testing.T) {
	h := damagedNotes(t)
	n := 0
	for _, err := range h.clientOf(h.config()).Read(h.ctx, notes, runtime.Earliest()) {
		require.NoError(t, err)
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
}
