package runtime

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/topology"
)

// defaultStateDir is where state lies if Config.State.Dir is empty: the user's directory for state, which survives a
// restart of the machine (on Linux by the XDG Base Directory Specification). It is empty for a user without a home. A
// file system of the program's own has no user.
func defaultStateDir(fs vfs.FS) string {
	const name = "thalweg"
	if fs != nil {
		return name
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	switch goruntime.GOOS {
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", name)
	case "windows":
		return filepath.Join(home, "AppData", "Local", name)
	}
	return filepath.Join(home, ".local", "state", name)
}

// formerStateDir was the default once.
func formerStateDir() string { return filepath.Join(os.TempDir(), "thalweg") }

// checkStateDir refuses a program with stores that has no place for them.
func checkStateDir(topo *topology.Topology, cfg Config) error {
	if cfg.State.Dir == "" && keepsState(topo) {
		return ofKind(ErrStateUnusable, errors.New("runtime: config: State.Dir is empty, and there is no default: neither "+
			"XDG_STATE_HOME nor HOME is set. Set Config.State.Dir to a directory that survives restarts"))
	}
	return nil
}

// logStateDir says where the state lies, and warns of state that was left at the former default.
func logStateDir(cfg Config, dir string) {
	log := cfg.Logger.With("application", cfg.ApplicationID)
	log.Info("opening state", "directory", dir)
	if cfg.State.FS != vfs.Default || cfg.State.Dir != defaultStateDir(nil) {
		return
	}
	former := filepath.Join(formerStateDir(), cfg.ApplicationID)
	if _, err := os.Stat(filepath.Join(former, "state")); err == nil {
		log.Warn("state of an earlier version is left alone: the default directory is another one now, and the state is "+
			"restored there. Set Config.State.Dir to use the old one, or remove it", "directory", dir, "left", former)
	}
}
