package dirlock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/dirlock"
)

var files = dirlock.Files{Lock: "LOCK", PID: "PID"}

func TestASecondOwnerIsToldWhoHasTheDirectory(t *testing.T) {
	dir := t.TempDir()
	lock, err := dirlock.Acquire(vfs.Default, dir, files)
	require.NoError(t, err)
	_, err = dirlock.Acquire(vfs.Default, dir, files)
	require.ErrorIs(t, err, dirlock.ErrInUse)
	require.ErrorContains(t, err, "in use by this process")
	require.NoError(t, lock.Close())
	lock, err = dirlock.Acquire(vfs.Default, dir, files)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

// A process that was killed holds its lock for a while: the kernel ends its last write first.
func TestALockIsTakenOverFromADyingProcess(t *testing.T) {
	var tries int
	dying := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpLock {
			return nil
		}
		if tries++; tries < 4 {
			return syscall.EAGAIN
		}
		return nil
	}))
	lock, err := dirlock.Acquire(dying, "", files)
	require.NoError(t, err)
	require.Equal(t, 4, tries)
	require.NoError(t, lock.Close())
}

// "In use" is a diagnosis: a reader of it looks for another process.
func TestOtherFailuresAreNotInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := dirlock.Acquire(vfs.Default, file, files)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.NotErrorIs(t, err, dirlock.ErrInUse)

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "LOCK"), 0o700))
	_, err = dirlock.Acquire(vfs.Default, dir, files)
	require.ErrorIs(t, err, syscall.EISDIR)
	require.NotErrorIs(t, err, dirlock.ErrInUse)

	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EMFILE} {
		broken := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpLock {
				return cause
			}
			return nil
		}))
		_, err = dirlock.Acquire(broken, "", files)
		require.ErrorIs(t, err, cause)
		require.NotErrorIs(t, err, dirlock.ErrInUse)
	}
}

func TestAFullDiskDoesNotKeepTheOwnerOut(t *testing.T) {
	full := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	}))
	lock, err := dirlock.Acquire(full, "", files)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}
