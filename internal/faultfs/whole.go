package faultfs

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Whole is a file system with a call that forces all of it, as syncfs(2) does.
type Whole struct{ vfs.FS }

// SyncAll forces all files and directories.
func (w Whole) SyncAll() error { return w.sync("/") }

func (w Whole) sync(dir string) error {
	names, err := w.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := w.PathJoin(dir, name)
		info, err := w.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed or renamed meanwhile
		case err != nil:
			return err
		case info.IsDir():
			err = w.sync(path)
		default:
			err = syncFile(w.Open(path))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncFile(w.OpenDir(dir))
}

func syncFile(f vfs.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
