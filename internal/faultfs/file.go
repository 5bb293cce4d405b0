package faultfs

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Counts is what was read from files and written to them, and in how many calls.
type Counts struct {
	Reads, ReadBytes, Writes, WriteBytes atomic.Int64

	path string
}

// Count counts what is read from the files whose path contains a part, and written to them, from now on.
func (f *FS) Count(part string) *Counts {
	c := &Counts{path: part}
	f.count.Store(c)
	return c
}

// Open opens a file for reading.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	opened, err := f.FS.Open(name, opts...)
	return f.wrap(opened, name, true, err)
}

// OpenReadWrite opens a file for reading and writing. WrongBytes does not concern it.
func (f *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	opened, err := f.FS.OpenReadWrite(name, category, opts...)
	return f.wrap(opened, name, false, err)
}

// Create makes a file. WrongBytes does not concern it.
func (f *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	opened, err := f.FS.Create(name, category)
	return f.wrap(opened, name, false, err)
}

func (f *FS) wrap(opened vfs.File, name string, reading bool, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f, name: name, reading: reading}, nil
}

type file struct {
	vfs.File
	fs      *FS
	name    string
	reading bool // opened for that alone
}

// counts returns what is to be counted of the file, nil for nothing.
func (f *file) counts() *Counts {
	if c := f.fs.count.Load(); c != nil && strings.Contains(f.name, c.path) {
		return c
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if wrong := f.fs.wrong.Load(); f.reading && wrong != nil && n > 0 && strings.HasSuffix(f.name, *wrong) {
		p[n/2] ^= 0x55
	}
	f.read(n)
	return n, err
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.read(n)
	return n, err
}

func (f *file) read(n int) {
	if c := f.counts(); c != nil {
		c.Reads.Add(1)
		c.ReadBytes.Add(int64(n))
	}
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.wrote(n)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.wrote(n)
	return n, err
}

func (f *file) wrote(n int) {
	if c := f.counts(); c != nil {
		c.Writes.Add(1)
		c.WriteBytes.Add(int64(n))
	}
}
