package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	lockName = "LOCK"
	pidName  = "PID"
)

// lockDir takes the data directory for this process. The pid lies in a file of its own: closing any descriptor of the
// lock's file would give the lock up.
func lockDir(fs vfs.FS, dir string) (io.Closer, error) {
	lock, err := fs.Lock(fs.PathJoin(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("broker: data directory %s is in use by process %s: stop it, or use another directory: %w",
			dir, readPID(fs, dir), err)
	}
	if err := writePID(fs, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("broker: data directory %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

func readPID(fs vfs.FS, dir string) string {
	const unknown = "(unknown pid)"
	f, err := fs.Open(fs.PathJoin(dir, pidName))
	if err != nil {
		return unknown
	}
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err = errors.Join(err, f.Close()); err != nil {
		return unknown
	}
	pid := strings.TrimSpace(string(b))
	if _, err := strconv.Atoi(pid); err != nil {
		return unknown
	}
	return pid
}

func writePID(fs vfs.FS, dir string) error {
	f, err := fs.Create(fs.PathJoin(dir, pidName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write pid: %w", err)
	}
	_, err = f.Write([]byte(strconv.Itoa(os.Getpid()) + "\n"))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write pid: %w", err)
	}
	return nil
}
