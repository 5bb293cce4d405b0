package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkpoint is what the log knows about itself beyond its batches. The file holds two slots, 4096 bytes apart, which
// are overwritten in turn, in place; the valid one with the larger number counts. A slot is only ever written after
// what it says has become true, so that it needs no fsync of its own where an older truth is good enough: after a
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

// checkpoints is the file. Its owner calls one method at a time.
type checkpoints struct {
	file   *sharedFile
	number uint64
}

// found tells whether there was a valid checkpoint in the file, or one was written since.
func (c *checkpoints) found() bool { return c.number > 0 }

// openCheckpoints opens or makes the file and returns the newest valid checkpoint, or
// unknownCheckpoint.
func openCheckpoints(files *Files, fs vfs.FS, dir string) (*checkpoints, checkpoint, error) {
	name := fs.PathJoin(dir, checkpointName)
	c := &checkpoints{file: files.file(fs, name)}
	file, err := c.file.pin()
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	defer c.file.unpin()
	newest, number, err := newestCheckpoint(file)
	if err != nil {
		return nil, checkpoint{}, errors.Join(fmt.Errorf("checkpoint %s: read: %w", name, err), c.file.close())
	}
	c.number = number
	return c, newest, nil
}

// readCheckpoint is openCheckpoints for reading alone: a file that is missing is not made.
func readCheckpoint(fs vfs.FS, dir string) (checkpoint, error) {
	name := fs.PathJoin(dir, checkpointName)
	file, err := fs.Open(name)
	if isNotExist(err) {
		return unknownCheckpoint, nil
	}
	if err != nil {
		return checkpoint{}, fmt.Errorf("checkpoint %s: open: %w", name, err)
	}
	newest, _, err := newestCheckpoint(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return checkpoint{}, fmt.Errorf("checkpoint %s: read: %w", name, err)
	}
	return newest, nil
}

// unknownCheckpoint is that of a log without one: any part of it may have been compacted.
var unknownCheckpoint = checkpoint{cleanSegment: -1, sparse: math.MaxInt64}

// newestCheckpoint returns the newest valid checkpoint of a file and its number, or unknownCheckpoint and 0.
func newestCheckpoint(file io.ReaderAt) (newest checkpoint, number uint64, err error) {
	newest = unknownCheckpoint
	var slot [checkpointBytes]byte
	for i := range int64(2) {
		n, err := file.ReadAt(slot[:], i*checkpointStride)
		if err != nil && err != io.EOF { // a missing slot is as good as an invalid one
			return checkpoint{}, 0, err
		}
		if cp, of, ok := decodeCheckpoint(slot[:n]); ok && of > number {
			newest, number = cp, of
		}
	}
	return newest, number, nil
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

// encode returns the bytes of a slot.
func (cp *checkpoint) encode(number uint64) []byte {
	slot := make([]byte, 0, checkpointBytes)
	slot = binary.BigEndian.AppendUint32(append(slot, checkpointMagic...), 2)
	slot = binary.BigEndian.AppendUint64(slot, number)
	for _, field := range cp.fields() {
		slot = binary.BigEndian.AppendUint64(slot, uint64(*field))
	}
	return binary.BigEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))
}

// write overwrites the older slot. fsync is called with the function that syncs it; nil: it is not synced.
func (c *checkpoints) write(cp checkpoint, fsync func(own func() error) error) error {
	c.number++
	slot := cp.encode(c.number)
	file, err := c.file.pin()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotWritten, err)
	}
	defer c.file.unpin()
	if _, err := file.WriteAt(slot, int64(c.number%2)*checkpointStride); err != nil {
		return fmt.Errorf("%w: %w", errNotWritten, err)
	}
	if fsync == nil {
		return nil
	}
	if err := fsync(file.Sync); err != nil {
		return fmt.Errorf("checkpoint: sync: %w", err)
	}
	return nil
}

func (c *checkpoints) close() error { return c.file.close() }
