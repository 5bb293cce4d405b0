package log

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// openWholeFS returns what syncs all of the file system that dir lies on, and a function that releases it; nil where
// the kernel can't report that a write failed (Linux before 5.8).
func openWholeFS(fs vfs.FS, dir string) (fsync func() error, release func() error, err error) {
	if fs != vfs.Default || !reportsWriteErrors() {
		return nil, nil, nil
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("directory %s: open: %w", dir, err)
	}
	fsync = func() error {
		for {
			err := unix.Syncfs(int(d.Fd()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return fmt.Errorf("file system of %s: sync: %w", dir, err)
			}
			return nil
		}
	}
	return fsync, d.Close, nil
}

func reportsWriteErrors() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major > 5 || major == 5 && minor >= 8)
}
