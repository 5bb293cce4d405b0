package runtime_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func (h *harness) writeFile(fs vfs.FS, name string, content []byte) {
	h.t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(h.t, err)
	_, err = f.Write(content)
	require.NoError(h.t, err)
	require.NoError(h.t, f.Close())
}

// A file that is not one of the runtime's is not read in part.
func TestALargeFileInTheStateDirectory(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 1)
	for _, name := range []string{"process", "stores", "used"} {
		h.writeFile(cfg.State.FS, "state/wordcount/"+name, make([]byte, 16<<20+1))
		err := h.start(words(t, byWord), cfg).fails()
		require.ErrorContains(t, err, "state/wordcount/"+name)
		require.ErrorContains(t, err, "16777216")
		require.NoError(t, cfg.State.FS.Remove("state/wordcount/"+name))
	}
	h.counted(cfg, 1)
	h.exact()
}
