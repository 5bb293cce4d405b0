package runtime

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/dirlock"
)

// RemoveLocalState deletes what an application has on the disk of this machine, damaged or not: dir is
// <Config.State.Dir>/<application>, and a nil fs means the operating system's. At its next start the application
// restores its stores from its topics; the rows of volatile stores are lost. RemoveLocalState fails while an
// application runs there, and where dir is not such a directory. A directory that does not exist is as good as
// deleted.
func RemoveLocalState(dir string, fs vfs.FS) error {
	if fs == nil {
		fs = vfs.Default
	}
	names, err := fs.List(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("state directory %s: %w", dir, err)
	case !isHome(fs, dir):
		return fmt.Errorf("state directory %s: no application has written there%s", dir, applicationsIn(fs, dir))
	}
	lock, err := dirlock.Acquire(fs, dir, homeLock)
	switch {
	case errors.Is(err, dirlock.ErrInUse):
		return fmt.Errorf("state %w: close the application that runs there", err)
	case err != nil:
		return fmt.Errorf("state %w: this process must be able to write there, as the application does", err)
	}
	for _, name := range names {
		if name != homeLock.Lock {
			err = errors.Join(err, fs.RemoveAll(fs.PathJoin(dir, name)))
		}
	}
	if err = errors.Join(err, lock.Close()); err == nil {
		err = fs.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	return nil
}

// isHome tells that an application has a directory.
func isHome(fs vfs.FS, dir string) bool {
	for _, name := range []string{"state", "process"} {
		if _, err := fs.Stat(fs.PathJoin(dir, name)); err == nil {
			return true
		}
	}
	return false
}
