package oracle

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDifferencesAreDocumented: users find each rule, and each surprise, with its reason.
func TestDifferencesAreDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/semantics.md")
	require.NoError(t, err)
	for _, r := range rules {
		require.Contains(t, string(raw), "| `"+r.name+"` |")
	}
	for id := range surprises {
		if id = id[:len("S-00")]; id != "S-08" { // which is in a range
			require.Contains(t, string(raw), "`"+id+"`")
		}
	}
}
