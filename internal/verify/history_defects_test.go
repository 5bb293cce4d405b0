//go:build kill && defects

package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/defect"
	"thalweg/internal/verify/history"
)

// TestSeededDefects seeds one defect after the other into the broker. The checker finds each in the form of the test
// that can, and nothing where there is none. A power cut shows what was not synced; that needs a file system that
// forgets.
func TestSeededDefects(t *testing.T) {
	const inMemory, processes = "TestHistoryInMemory", "TestHistoryOfProcesses"
	for _, test := range []struct {
		defect, form string
		shows        []history.AnomalyKind // any of them
	}{
		{"", inMemory, nil},
		{"", processes, nil},
		{"skipped-sync", inMemory, []history.AnomalyKind{history.LostWrite, history.Unreadable}},
		{"early-acknowledgment", inMemory, []history.AnomalyKind{history.LostWrite}},
		{"early-high-watermark", inMemory, []history.AnomalyKind{history.InconsistentOffset, history.LostWrite}},
		{"lost-marker", inMemory, []history.AnomalyKind{history.LostWrite, history.AbortedRead, history.Unreadable}},
		{"lost-marker", processes, []history.AnomalyKind{history.LostWrite, history.AbortedRead, history.Unreadable}},
		{"stale-generation", inMemory, []history.AnomalyKind{history.StaleCommit, history.ProcessedTwice}},
		{"stale-generation", processes, []history.AnomalyKind{history.StaleCommit, history.ProcessedTwice}},
		{"unchecked-sequence", processes, []history.AnomalyKind{history.Duplicate}},
	} {
		t.Run(test.form+"/"+test.defect, func(t *testing.T) {
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.Command(self, "-test.run", "^"+test.form+"$", "-test.v", "-minutes", "2")
			cmd.Env = append(os.Environ(), defect.Variable+"="+test.defect, "VERIFY_BIN="+filepath.Dir(built(t).thalweg))
			out, err := cmd.CombinedOutput()
			if test.defect == "" {
				require.NoError(t, err, "%s", tail(string(out)))
				return
			}
			require.Error(t, err, "the defect is not found\n%s", tail(string(out)))
			var found []history.AnomalyKind
			for _, match := range regexp.MustCompile(`anomaly: ([a-z -]+):`).FindAllSubmatch(out, -1) {
				if kind := history.AnomalyKind(match[1]); !slices.Contains(found, kind) {
					found = append(found, kind)
				}
			}
			t.Logf("%v", found)
			require.Condition(t, func() bool {
				return slices.ContainsFunc(test.shows, func(k history.AnomalyKind) bool { return slices.Contains(found, k) })
			}, "the test fails without showing %v\n%s", test.shows, tail(string(out)))
		})
	}
}
