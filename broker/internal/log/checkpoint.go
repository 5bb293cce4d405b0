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
//	0 "TWCP" | 4 uint32 version = 1 | 8 uint64 number | 16 int64 synced | 24 int64 log start | 32 int64 cleaned
//	40 int64 sparse | 48 int64 clean segment, -1 | 56 int64 clean size | 64 uint32 CRC32C
type checkpoint struct {
	synced       int64 // everything below is on the disk
	logStart     int64
	cleaned      int64 // compaction has been through everything below
	sparse       int64 // compaction may have taken out whatever is below
	cleanSegment int64 // base of the active segment at a clean close; -1 otherwise
	cleanSize    int64 // and its size
}

// castagnoli is built once and only read.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	checkpointName   = "checkpoint"
	checkpointMagic  = "TWCP"
	checkpointStride = 4096
	checkpointBytes  = 68
	checkpointSummed = checkpointBytes - 4
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
		if n < checkpointBytes {
			continue
		}
		if cp, number, ok := decodeCheckpoint(slot[:]); ok && number > c.number {
			newest, c.number = cp, number
		}
	}
	return c, newest, nil
}

func decodeCheckpoint(slot []byte) (cp checkpoint, number uint64, ok bool) {
	sum := crc32.Checksum(slot[:checkpointSummed], castagnoli)
	if string(slot[:4]) != checkpointMagic || binary.BigEndian.Uint32(slot[checkpointSummed:]) != sum ||
		binary.BigEndian.Uint32(slot[4:]) != 1 {
		return checkpoint{}, 0, false
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(slot[i:])) }
	return checkpoint{synced: at(16), logStart: at(24), cleaned: at(32), sparse: at(40), cleanSegment: at(48),
		cleanSize: at(56)}, uint64(at(8)), true
}

// write overwrites the older slot.
func (c *checkpoints) write(cp checkpoint, force bool) error {
	c.number++
	var slot [checkpointBytes]byte
	copy(slot[:], checkpointMagic)
	binary.BigEndian.PutUint32(slot[4:], 1)
	binary.BigEndian.PutUint64(slot[8:], c.number)
	for i, v := range []int64{cp.synced, cp.logStart, cp.cleaned, cp.sparse, cp.cleanSegment, cp.cleanSize} {
		binary.BigEndian.PutUint64(slot[16+8*i:], uint64(v))
	}
	binary.BigEndian.PutUint32(slot[checkpointSummed:], crc32.Checksum(slot[:checkpointSummed], castagnoli))
	if _, err := c.file.WriteAt(slot[:], int64(c.number%2)*checkpointStride); err != nil {
		return fmt.Errorf("checkpoint: write: %w", err)
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
