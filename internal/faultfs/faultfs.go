// Package faultfs is a file system with faults, for tests: reads that give back wrong bytes, calls that fail, and a
// disk that is slow or full, or whose power is cut. It also counts what is read and written, and measures directories.
package faultfs

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// FS is a file system with faults. The zero faults are none.
type FS struct {
	vfs.FS
	wrong atomic.Pointer[string]
	fault atomic.Pointer[Fault]
	count atomic.Pointer[Counts]
	slow  atomic.Int64 // nanoseconds
}

// Fault fails the operations of a kind on the files whose path contains Path, or is the path of the Dir; of all kinds
// with a nil Kind. An operation on two paths counts by the first.
type Fault struct {
	Path string
	Dir  string
	Kind func(errorfs.OpKind) bool
	Err  error
	// Skip is how many of these operations go well before. Once fails the next one only. Before is called before the
	// first that fails, to look at what is on the disk; without an Err it does not fail.
	Skip   int64
	Once   bool
	Before func()

	seen atomic.Int64
	Hits atomic.Int64 // operations that failed
}

// Writes is a Fault.Kind: everything that changes files or directories, or makes that last.
func Writes(kind errorfs.OpKind) bool { return kind.ReadOrWrite() == errorfs.OpIsWrite }

// Syncs is a Fault.Kind: what makes the bytes of a file last.
func Syncs(kind errorfs.OpKind) bool {
	return kind == errorfs.OpFileSync || kind == errorfs.OpFileSyncData || kind == errorfs.OpFileSyncTo
}

// Grows is a Fault.Kind: what needs room on the disk.
func Grows(kind errorfs.OpKind) bool {
	return kind == errorfs.OpFileWrite || kind == errorfs.OpFileWriteAt || kind == errorfs.OpCreate
}

func (f *Fault) hits(op errorfs.Op) bool {
	if f.Dir != "" && op.Path != f.Dir || !strings.Contains(op.Path, f.Path) || f.Kind != nil && !f.Kind(op.Kind) {
		return false
	}
	n := f.seen.Add(1) - f.Skip
	if n < 1 || f.Once && n > 1 {
		return false
	}
	f.Hits.Add(1)
	if n == 1 && f.Before != nil {
		f.Before()
	}
	return true
}

// New puts faults around a file system.
func New(fs vfs.FS) *FS {
	f := &FS{}
	f.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if slow := f.slow.Load(); slow > 0 && Syncs(op.Kind) {
			time.Sleep(time.Duration(slow))
		}
		if fault := f.fault.Load(); fault != nil && fault.hits(op) {
			return fault.Err
		}
		return nil
	}))
	return f
}

// Fail makes operations fail from now on; nil ends it.
func (f *FS) Fail(fault *Fault) { f.fault.Store(fault) }

// SlowSyncs makes each sync take longer by d from now on; 0 ends it.
func (f *FS) SlowSyncs(d time.Duration) { f.slow.Store(int64(d)) }

// WrongBytes makes each read of a file whose path ends so give back one wrong byte; "" ends it.
func (f *FS) WrongBytes(suffix string) {
	if suffix == "" {
		f.wrong.Store(nil)
		return
	}
	f.wrong.Store(&suffix)
}
