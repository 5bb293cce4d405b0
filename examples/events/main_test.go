package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `balances
     0.00  bo    open: false  5 events, 1 refused
    27.50  anna  open: true   5 events, 1 refused

the events of anna
     0.00  after opened
   120.00  after deposited 120.00
    20.00  after withdrew 100.00
    20.00  after refused 100.00 (withdraw: not enough money)
    27.50  after deposited 7.50

balances, rebuilt from the events
     0.00  bo    open: false  5 events, 1 refused
    27.50  anna  open: true   5 events, 1 refused
`

func TestWhatIsPrinted(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
