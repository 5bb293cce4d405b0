package pebble

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// isSmall tells the manifest, its marker and their kind from tables: what is written to them may use the reserve, and
// an error on them is fatal.
func (s *spaceFS) isSmall(name string) bool {
	base := s.FS.PathBase(name)
	return !slices.ContainsFunc([]string{".sst", ".blob", ".log"}, func(kind string) bool {
		return strings.HasSuffix(base, kind)
	})
}

func (s *spaceFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open(name, func() (vfs.File, error) { return s.FS.Create(name, category) })
}

func (s *spaceFS) OpenReadWrite(
	name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption,
) (vfs.File, error) {
	return s.open(name, func() (vfs.File, error) { return s.FS.OpenReadWrite(name, category, opts...) })
}

func (s *spaceFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open(newname, func() (vfs.File, error) { return s.FS.ReuseForWrite(oldname, newname, category) })
}

func (s *spaceFS) open(name string, open func() (vfs.File, error)) (f vfs.File, err error) {
	small := s.isSmall(name)
	err = s.attempt(small, func() error {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, s.fatal(small, err)
	}
	f = &spaceFile{File: f, fs: s, small: small}
	if !small {
		f = &tableFile{File: f}
	}
	return f, nil
}

func (s *spaceFS) Rename(oldname, newname string) error {
	return s.fatal(true, s.attempt(true, func() error { return s.FS.Rename(oldname, newname) }))
}

func (s *spaceFS) Link(oldname, newname string) error {
	return s.attempt(true, func() error { return s.FS.Link(oldname, newname) })
}

func (s *spaceFS) MkdirAll(dir string, perm os.FileMode) error {
	return s.attempt(true, func() error { return s.FS.MkdirAll(dir, perm) })
}

// Remove may need space, too, where files are copied on write.
func (s *spaceFS) Remove(name string) error {
	return s.attempt(true, func() error { return s.FS.Remove(name) })
}

func (s *spaceFS) RemoveAll(name string) error {
	return s.attempt(true, func() error { return s.FS.RemoveAll(name) })
}

func (s *spaceFS) OpenDir(name string) (vfs.File, error) {
	d, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, s.fatal(true, err)
	}
	return &spaceDir{File: d, fs: s}, nil
}

func (s *spaceFS) Unwrap() vfs.FS { return s.FS }

type spaceDir struct {
	vfs.File
	fs *spaceFS
}

// Sync ends the engine where it fails, also while it is opened: Pebble panics, in whatever goroutine that is.
func (d *spaceDir) Sync() error {
	err := d.fs.attempt(true, d.File.Sync)
	if err == nil {
		return nil
	}
	d.fs.engine.giveUp(err)
	return d.fs.refuse()
}

// spaceFile is a file that is written from its beginning to its end. Of a small one the bytes since its last sync are
// kept: a sync that failed may have dropped them, so they are written again before the next one. A table is not synced
// again. The error goes to Pebble, when there is space, which then writes another table.
type spaceFile struct {
	vfs.File
	fs       *spaceFS
	small    bool
	size     int64
	unsynced []byte
	lost     bool // unsynced is not all
}

func (f *spaceFile) Write(p []byte) (n int, err error) {
	f.keep(p)
	err = f.fs.attempt(f.small, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, f.fs.fatal(f.small, err)
}

func (f *spaceFile) WriteAt(p []byte, at int64) (n int, err error) {
	f.lost = true
	err = f.fs.attempt(f.small, func() error {
		m, err := f.File.WriteAt(p[n:], at+int64(n))
		n += m
		return err
	})
	return n, f.fs.fatal(f.small, err)
}

func (f *spaceFile) keep(p []byte) {
	f.size += int64(len(p))
	if !f.small || f.lost || len(f.unsynced)+len(p) > reserveBytes {
		f.lost, f.unsynced = true, nil
		return
	}
	f.unsynced = append(f.unsynced, p...)
}

func (f *spaceFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *spaceFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *spaceFile) SyncTo(length int64) (all bool, err error) {
	if f.small {
		return true, f.Sync()
	}
	err = f.sync(func() error {
		all, err = f.File.SyncTo(length)
		return err
	})
	return all, err
}

// Preallocate is a wish.
func (f *spaceFile) Preallocate(offset, length int64) error {
	if err := f.File.Preallocate(offset, length); !IsFull(err) {
		return err
	}
	return nil
}

func (f *spaceFile) sync(sync func() error) error {
	if !f.small {
		if err := f.fs.await(false); err != nil {
			return err
		}
		err := sync()
		if IsFull(err) && !f.fs.opening.Load() {
			f.fs.ranOut(err)
			if failed := f.fs.await(false); failed != nil {
				return failed
			}
		}
		return err
	}
	again := false
	err := f.fs.attempt(true, func() error {
		if again && f.lost {
			return errors.New("sync: the disk is full, and what was written since the last sync may be lost")
		}
		if again {
			if _, err := f.File.WriteAt(f.unsynced, f.size-int64(len(f.unsynced))); err != nil {
				return err
			}
		}
		err := sync()
		again = err != nil
		return err
	})
	if err == nil {
		f.unsynced, f.lost = f.unsynced[:0], false
	}
	return f.fs.fatal(true, err)
}
