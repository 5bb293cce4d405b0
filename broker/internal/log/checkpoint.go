package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkpoint is what the log knows about itself beyond its batches. The file holds two slots, 4096 bytes apart, which
// are overwritten in turn, in place; the valid one with the larger number counts. A slot is only ever written after
// what it says has become true, so that it needs no force of its own where an older truth is good enough: after a
// crash of the process the newest is there, after a power cut a recent one.
//
//	0 "TWCP" | 4 uint32 version = 2 | 8 uint64 number | 16 int64 synced | 24 int64 log start | 32 int64 cleaned
//	40 int64 sparse | 48 int64 clean segment, -1 | 56 int64 clean size | 64 int64 active segment | 72 int64 created
//	80 int64 last append | 88 int64 end | 96 uint32 CRC32C
//
// Version 1 ends before the active segment.
type checkpoint struct {
	synced       int64 // everything below is on the disk
	logStart     int64
	cleaned      int64 // compaction has been through everything below
	sparse       int64 // compaction may have taken out whatever is below
	cleanSegment int64 // base of the active segment at a clean close; -1 otherwise
	cleanSize    int64 // and its size

	// Of the active segment: which it is, its ages, and the end of the log that they know of.
	agesOf, created, appended, agesEnd int64
}

// errNotWritten says that a checkpoint could not be written, on a full disk say: the older one stays true.
var errNotWritten = errors.New("checkpoint: write")

// castagnoli is built once and only read.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	checkpointName   = "checkpoint"
	checkpointMagic  = "TWCP"
	checkpointStride = 4096
	checkpointFields = 10
	checkpointV1     = 6 // fields of version 1
	checkpointHead   = 16
	checkpointBytes  = checkpointHead + 8*checkpointFields + 4
)

// checkpoints is the open file. Its owner calls one method at a time.
type checkpoints struct {
	file   vfs.File
	number uint64
}

// openCheckpoints opens or makes the file and returns the newest valid checkpoint, or the zero one.
func openCheckpoints(fs vfs.FS, dir string) (*checkpoints, checkpoint, error) {
	name := fs.PathJoin(dir, checkpointName)
	file, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("checkpoint %s: open: %w", name, err)
	}
	c := &checkpoints{file: file}
	newest := checkpoint{cleanSegment: -1}
	var slot [checkpointBytes]byte
	for i := range int64(2) {
		n, _ := file.ReadAt(slot[:], i*checkpointStride) // a missing slot is as good as an invalid one
		if cp, number, ok := decodeCheckpoint(slot[:n]); ok && number > c.number {
			newest, c.number = cp, number
		}
	}
	return c, newest, nil
}

// fields are those of the file, in its order.
func (cp *checkpoint) fields() []*int64 {
	return []*int64{&cp.synced, &cp.logStart, &cp.cleaned, &cp.sparse, &cp.cleanSegment, &cp.cleanSize,
		&cp.agesOf, &cp.created, &cp.appended, &cp.agesEnd}
}

func decodeCheckpoint(slot []byte) (cp checkpoint, number uint64, ok bool) {
	be := binary.BigEndian
	if len(slot) < checkpointHead || string(slot[:4]) != checkpointMagic {
		return checkpoint{}, 0, false
	}
	n := 0
	switch be.Uint32(slot[4:]) {
	case 1:
		n = checkpointV1
	case 2:
		n = checkpointFields
	default:
		return checkpoint{}, 0, false
	}
	summed := checkpointHead + 8*n
	if len(slot) < summed+4 || be.Uint32(slot[summed:]) != crc32.Checksum(slot[:summed], castagnoli) {
		return checkpoint{}, 0, false
	}
	for i, field := range cp.fields()[:n] {
		*field = int64(be.Uint64(slot[checkpointHead+8*i:]))
	}
	return cp, be.Uint64(slot[8:]), true
}

// write overwrites the older slot.
func (c *checkpoints) write(cp checkpoint, force bool) error {
	c.number++
	slot := make([]byte, 0, checkpointBytes)
	slot = binary.BigEndian.AppendUint32(append(slot, checkpointMagic...), 2)
	slot = binary.BigEndian.AppendUint64(slot, c.number)
	for _, field := range cp.fields() {
		slot = binary.BigEndian.AppendUint64(slot, uint64(*field))
	}
	slot = binary.BigEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))
	if _, err := c.file.WriteAt(slot, int64(c.number%2)*checkpointStride); err != nil {
		return fmt.Errorf("%w: %w", errNotWritten, err)
	}
	if force {
		if err := c.file.Sync(); err != nil {
			return fmt.Errorf("checkpoint: sync: %w", err)
		}
	}
	return nil
}

func (c *checkpoints) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return errors.Join(err)
}
