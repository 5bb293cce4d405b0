package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `delivered
  job-1  to anna  as <job-1@mail>
  job-2  to bo    as <job-2@mail>
  job-5  to anna  as <job-5@mail>

dead letters
  job-3  attempts: 1  dora: no such mailbox
  job-4  attempts: 1  value: main.Mail: 23 bytes: unexpected end of JSON input
  job-6  attempts: 5  the mail server is busy

after the dead letters went back to the queue
delivered
  job-1  to anna  as <job-1@mail>
  job-2  to bo    as <job-2@mail>
  job-3  to dora  as <job-3@mail>
  job-5  to anna  as <job-5@mail>
  job-6  to cleo  as <job-6@mail>
`

func TestWhatIsPrinted(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
