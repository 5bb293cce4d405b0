package broker

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page that users read has the table of topic configurations as it is.
func TestTopicConfigsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/compatibility.md")
	require.NoError(t, err)
	var documented [][2]string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9.]+)` \\| (obeyed|exceeded|hint) \\|$").
		FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, [2]string{row[1], row[2]})
	}
	classes := map[effect]string{obeyed: "obeyed", exceeded: "exceeded", hint: "hint"}
	var there [][2]string
	for _, c := range (&broker{}).standardTopicConfigs() {
		there = append(there, [2]string{c.name, classes[c.effect]})
	}
	require.Equal(t, there, documented)
	require.True(t, slices.IsSortedFunc(there, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }))
}
