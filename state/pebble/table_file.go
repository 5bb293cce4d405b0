package pebble

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tableFile writes a table in large pieces. Pebble hands over a table in pieces of 4 KiB and of a few bytes, and Linux
// takes four times as long to write these.
type tableFile struct {
	vfs.File
	waiting []byte
}

// tablePieceBytes is the size of a piece. Each table that is being written holds one.
const tablePieceBytes = 128 << 10

func (f *tableFile) Write(p []byte) (int, error) {
	if len(f.waiting)+len(p) > tablePieceBytes {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= tablePieceBytes {
		return f.File.Write(p)
	}
	if f.waiting == nil {
		f.waiting = make([]byte, 0, tablePieceBytes)
	}
	f.waiting = append(f.waiting, p...)
	return len(p), nil
}

// flush hands over what waits. After an error a table is of no use, so nothing is written twice.
func (f *tableFile) flush() error {
	p := f.waiting
	f.waiting = p[:0]
	if len(p) == 0 {
		return nil
	}
	_, err := f.File.Write(p)
	return err
}

func (f *tableFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *tableFile) Sync() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *tableFile) SyncData() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *tableFile) SyncTo(length int64) (all bool, err error) {
	if err := f.flush(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

func (f *tableFile) Stat() (vfs.FileInfo, error) {
	if err := f.flush(); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *tableFile) Read(p []byte) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *tableFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}

func (f *tableFile) Close() error { return errors.Join(f.flush(), f.File.Close()) }
