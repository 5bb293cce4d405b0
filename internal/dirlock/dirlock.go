// Package dirlock gives a directory to one process at a time.
package dirlock

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrInUse says that another process, or this one, holds the lock.
var ErrInUse = errors.New("in use")

// Files names the two files of a lock. The pid lies in a file of its own: closing any descriptor of the lock's file
// would release the lock.
type Files struct{ Lock, PID string }

// Acquire locks the directory until the closer is closed. The error wraps ErrInUse when the lock is held, and names the
// holder as far as it is known; any other error is the file system's.
func Acquire(fs vfs.FS, dir string, files Files) (io.Closer, error) {
	lock, err := fs.Lock(fs.PathJoin(dir, files.Lock))
	switch {
	case err == nil:
		writePID(fs, fs.PathJoin(dir, files.PID))
		return lock, nil
	case held(err):
		return nil, fmt.Errorf("directory %s: %w by %s: %w", dir, ErrInUse, holder(fs, fs.PathJoin(dir, files.PID)), err)
	default:
		return nil, fmt.Errorf("directory %s: lock: %w", dir, err)
	}
}

// held tells a lock that is taken from a lock file that cannot be opened. The first is a bare error number of fcntl, or
// the file system's own word that this process has it; the second comes with a path.
func held(err error) bool {
	if _, ok := errors.AsType[*iofs.PathError](err); ok {
		return false
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number == syscall.EAGAIN || number == syscall.EACCES
	}
	return true
}

// writePID does its best: the pid only serves an error message, and a full disk must not keep the owner out.
func writePID(fs vfs.FS, path string) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	_, _ = f.Write([]byte(strconv.Itoa(os.Getpid()) + "\n"))
	_ = f.Close()
}

func holder(fs vfs.FS, path string) string {
	const unknown = "another process"
	f, err := fs.Open(path)
	if err != nil {
		return unknown
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(b))
	if _, parse := strconv.Atoi(pid); err != nil || parse != nil {
		return unknown
	}
	return "process " + pid
}
