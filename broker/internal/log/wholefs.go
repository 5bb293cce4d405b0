package log

import "github.com/cockroachdb/pebble/v2/vfs"

// WholeFS is a vfs.FS that syncs everything written to it by one call.
type WholeFS interface {
	vfs.FS
	// SyncAll makes all files and directories as durable as a sync of each would.
	SyncAll() error
}

// OpenWholeFS returns what SyncerOptions.WholeFS is for logs in dir, nil where the file system has no such call, and a
// function that releases it.
func OpenWholeFS(fs vfs.FS, dir string) (fsync func() error, release func() error, err error) {
	if whole, ok := fs.(WholeFS); ok {
		return whole.SyncAll, func() error { return nil }, nil
	}
	fsync, release, err = openWholeFS(fs, dir)
	if fsync == nil {
		release = func() error { return nil }
	}
	return fsync, release, err
}
