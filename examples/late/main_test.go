package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `minutes, each when it was final
  12:00  harbor  3 readings, mean 14.4, max 14.6
  12:00  summit  2 readings, mean -3.3, max -3.1
  12:01  harbor  2 readings, mean 15.0, max 15.1
  12:01  summit  3 readings, mean -2.9, max -2.8
  12:02  harbor  1 readings, mean 15.0, max 15.0

readings that came too late
  12:00:56  summit  -3.2
  12:01:58  harbor  15.2
`

func TestWhatIsPrinted(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
