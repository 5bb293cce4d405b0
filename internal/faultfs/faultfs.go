// Package faultfs is a file system with faults, for tests: reads that give back wrong bytes, and calls that fail.
package faultfs

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// FS is a file system with faults. The zero faults are none.
type FS struct {
	vfs.FS
	wrong atomic.Pointer[string]
	fault atomic.Pointer[Fault]
}

// Fault fails the operations of a kind on the files whose path contains Path; of all kinds with a nil Kind.
type Fault struct {
	Path string
	Kind func(errorfs.OpKind) bool
	Err  error
}

// New puts faults around a file system.
func New(fs vfs.FS) *FS {
	f := &FS{}
	f.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fault := f.fault.Load(); fault != nil && strings.Contains(op.Path, fault.Path) &&
			(fault.Kind == nil || fault.Kind(op.Kind)) {
			return fault.Err
		}
		return nil
	}))
	return f
}

// Fail makes operations fail from now on; nil ends it.
func (f *FS) Fail(fault *Fault) { f.fault.Store(fault) }

// WrongBytes makes each read of a file whose path ends so give back one wrong byte; "" ends it.
func (f *FS) WrongBytes(suffix string) {
	if suffix == "" {
		f.wrong.Store(nil)
		return
	}
	f.wrong.Store(&suffix)
}

// Open opens a file for reading.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	opened, err := f.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f, name: name}, nil
}

type file struct {
	vfs.File
	fs   *FS
	name string
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if wrong := f.fs.wrong.Load(); wrong != nil && n > 0 && strings.HasSuffix(f.name, *wrong) {
		p[n/2] ^= 0x55
	}
	return n, err
}
