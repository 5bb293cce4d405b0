//go:build defects

package sim

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/defect"
)

// defectSeeds is how many seeds may be needed to find a defect.
const defectSeeds = 1500

var failure = regexp.MustCompile(`seed \d+, after [^\n]*`)

// TestSeededDefects seeds one defect after the other. The simulation finds each, and nothing where there is none.
func TestSeededDefects(t *testing.T) {
	for _, name := range []string{
		"", "offset-without-output", "output-without-offset", "double-owner", "stale-member", "unknown-end",
		"short-restore", "revoked-goes-on", "unfenced-writes", "early-promotion",
	} {
		t.Run(name, func(t *testing.T) {
			self, err := os.Executable()
			require.NoError(t, err)
			seeds := defectSeeds
			if name == "" {
				seeds = 50
			}
			cmd := exec.Command(self, "-test.run", "^TestSimulation$", "-test.v", "-first",
				"-seeds", strconv.Itoa(seeds))
			cmd.Env = append(os.Environ(), defect.Variable+"="+name)
			out, err := cmd.CombinedOutput()
			found := failure.FindString(string(out))
			if name == "" {
				require.NoError(t, err, "%s", found)
				return
			}
			require.Error(t, err, "%d seeds do not show the defect", seeds)
			require.NotEmpty(t, found, "%s", out[max(0, len(out)-4096):])
			t.Log(found)
		})
	}
}
