package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

func printed(t *testing.T, build func() (*Topology, error), args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = -1 // the program goes on
	flags := flag.NewFlagSet("program", flag.ContinueOnError)
	addFlag(flags, build, &out, &errs, func(s int) { status = s })
	require.NoError(t, flags.Parse(args))
	return out.String(), errs.String(), status
}

func TestFlag(t *testing.T) {
	build := func() (*Topology, error) {
		b := NewBuilder()
		b.Source("in", NewTopic[string, string]("lines")).Sink("out", NewTopic[string, string]("copies"))
		return b.Build()
	}
	topo, err := build()
	require.NoError(t, err)
	d := topo.Describe()
	for arg, want := range map[string]string{
		"-topology": d.String(), "-topology=text": d.String(), "-topology=dot": d.DOT(),
		"-topology=mermaid": d.Mermaid(), "-topology=fingerprint": topo.Fingerprint().String() + "\n",
	} {
		out, said, status := printed(t, build, arg)
		require.Equal(t, want, out, arg)
		require.Empty(t, said)
		require.Zero(t, status)
	}
	out, _, status := printed(t, build, "-topology=json")
	require.Zero(t, status)
	var back Description
	require.NoError(t, json.Unmarshal([]byte(out), &back))
	require.Equal(t, topo.Describe().String(), back.String())

	out, said, status := printed(t, build)
	require.Empty(t, out+said)
	require.Equal(t, -1, status)
	_, _, status = printed(t, build, "-topology=false")
	require.Equal(t, -1, status)
	out, said, status = printed(t, build, "-topology=svg")
	require.Empty(t, out)
	require.Contains(t, said, `no format "svg": want text, dot, mermaid, json or fingerprint`)
	require.Equal(t, 1, status)
	_, said, status = printed(t, func() (*Topology, error) { return nil, errors.New("no source") }, "-topology")
	require.Equal(t, "no source\n", said)
	require.Equal(t, 1, status)
}
