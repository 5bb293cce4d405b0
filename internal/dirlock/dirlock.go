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
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrInUse says that another process, or this one, holds the lock.
var ErrInUse = errors.New("in use")

// A killed process holds its lock until the kernel has taken it apart: its last write to a slow disk comes first. A
// supervisor that starts the next process at once must not fail for it.
const (
	handover = 5 * time.Second
	retry    = 20 * time.Millisecond
)

// Files names the two files of a lock. The pid lies in a file of its own: closing any descriptor of the lock's file
// would release the lock.
type Files struct{ Lock, PID string }

// Acquire locks the directory until the closer is closed. It waits up to five seconds while another process holds the
// lock. The error wraps ErrInUse when the lock is held, and names the holder as far as it is known; any other error is
// the file system's.
func Acquire(fs vfs.FS, dir string, files Files) (io.Closer, error) {
	path := fs.PathJoin(dir, files.Lock)
	lock, err := fs.Lock(path)
	for end := time.Now().Add(handover); err != nil && held(err) == byAnother && time.Now().Before(end); {
		time.Sleep(retry)
		lock, err = fs.Lock(path)
	}
	if err == nil {
		writePID(fs, fs.PathJoin(dir, files.PID))
		return lock, nil
	}
	by := "this process"
	switch held(err) {
	case byNobody:
		return nil, fmt.Errorf("directory %s: lock: %w", dir, err)
	case byAnother:
		by = holder(fs, fs.PathJoin(dir, files.PID))
	}
	return nil, fmt.Errorf("directory %s: %w by %s: %w", dir, ErrInUse, by, err)
}

type owner int

const (
	byNobody owner = iota // the lock file cannot be opened
	byAnother
	byThis
)

// held says why a lock was refused. A lock of another process is a bare error number of fcntl, a lock of this one is
// the file system's own word, and a lock file that cannot be opened comes with a path.
func held(err error) owner {
	if _, ok := errors.AsType[*iofs.PathError](err); ok {
		return byNobody
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		if number == syscall.EAGAIN || number == syscall.EACCES {
			return byAnother
		}
		return byNobody
	}
	return byThis
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
	if pid == strconv.Itoa(os.Getpid()) {
		return unknown // in another container, which has process ids of its own
	}
	return "process " + pid
}
