package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/dirlock"
)

// RemoveLocalState deletes what an application has on the disk of this machine, damaged or not: dir is
// <Config.State.Dir>/<application>, and a nil fs means the operating system's. At its next start the application
// restores its stores from its topics; the rows of volatile stores are lost. RemoveLocalState fails while an
// application runs there ([ErrStateInUse]). Where dir is not such a directory, or has something else in it, too, it
// fails and deletes nothing ([ErrStateUnusable]). A directory that does not exist is as good as deleted.
func RemoveLocalState(dir string, fs vfs.FS) error {
	if fs == nil {
		fs = vfs.Default
	}
	_, err := homeFiles(fs, dir) // before the lock, which is a file in there
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return ofKind(ErrStateUnusable, err)
	}
	lock, err := dirlock.Acquire(fs, dir, homeLock)
	switch {
	case errors.Is(err, dirlock.ErrInUse):
		return ofKind(ErrStateInUse, fmt.Errorf("state %w: close the application that runs there", err))
	case err != nil:
		return ofKind(ErrStateUnusable,
			fmt.Errorf("state %w: this process must be able to write there, as the application does", err))
	}
	if err := removeHome(fs, dir, lock); err != nil {
		return ofKind(ErrStateUnusable, fmt.Errorf("state directory %s: %w", dir, err))
	}
	return nil
}

// removeHome deletes a directory that is locked. The lock goes last: an application that starts meanwhile waits for it.
// It begins with nothing then, and keeps what it makes, or finds no directory and fails.
func removeHome(fs vfs.FS, dir string, lock io.Closer) error {
	names, err := homeFiles(fs, dir)
	for _, name := range names {
		if err == nil && name != homeLock.Lock {
			err = fs.RemoveAll(fs.PathJoin(dir, name))
		}
	}
	file := fs.PathJoin(dir, homeLock.Lock)
	// An open file can't be deleted on Windows, where no one deletes the one that another application has opened since.
	late := goruntime.GOOS == "windows"
	if err == nil && !late {
		err = fs.Remove(file)
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return err
	}
	if late && fs.Remove(file) != nil {
		return nil
	}
	if err := fs.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		if left, listing := fs.List(dir); listing == nil && len(left) == 0 {
			return err
		}
	}
	return nil
}

// homeFiles lists the directory of an application, and fails if that is not what it is. What an application needs least
// comes first: after a failure in the middle the rest can still be told from the directory of something else.
func homeFiles(fs vfs.FS, dir string) ([]string, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	order := []string{
		homeLock.PID, "used.new", "used", "stores.new", "state", "stores", "process.new", "process", homeLock.Lock,
	}
	var foreign []string
	for _, name := range names {
		if !slices.Contains(order, name) {
			foreign = append(foreign, name)
		}
	}
	if !slices.Contains(names, homeLock.Lock) || !isHome(fs, dir, names) {
		return nil, fmt.Errorf("state directory %s: no application has written there%s", dir, applicationsIn(fs, dir))
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		return nil, fmt.Errorf("state directory %s: %q is not an application's, and nothing was deleted: is it the "+
			"right directory%s", dir, foreign, applicationsIn(fs, dir))
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return names, nil
}

// isHome tells that an application has a directory with a lock. Without its other files it was just made, or is what a
// removal has left.
func isHome(fs vfs.FS, dir string, names []string) bool {
	for _, file := range []string{fs.PathJoin("state", "STATE_FORMAT"), "process", "stores"} {
		if info, err := fs.Stat(fs.PathJoin(dir, file)); err == nil && !info.IsDir() {
			return true
		}
	}
	for _, name := range names {
		if name == homeLock.Lock || name == homeLock.PID {
			continue
		}
		if inside, err := fs.List(fs.PathJoin(dir, name)); name != "state" || err != nil || len(inside) > 0 {
			return false
		}
	}
	return true
}
