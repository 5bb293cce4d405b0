package broker

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/dirlock"
)

// lockDir takes the data directory for this process.
func lockDir(fs vfs.FS, dir string) (io.Closer, error) {
	lock, err := dirlock.Acquire(fs, dir, dirlock.Files{Lock: "LOCK", PID: "PID"})
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, dirlock.ErrInUse):
		return nil, fmt.Errorf("broker: data %w: stop that process, or use another directory", err)
	default:
		return nil, fmt.Errorf("broker: data %w: the broker needs a directory that it can write", err)
	}
}
