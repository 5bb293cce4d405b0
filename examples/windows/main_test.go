package main

import (
	"bytes"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/examples/windows/program"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

const told = `views per page and minute, when they were final
  12:00:00  /home  3
  12:00:00  /shop  2
  12:01:00  /cart  1
  12:01:00  /home  1
  12:01:00  /shop  1
  12:02:00  /home  1

as far as they are known, where the minute is not over
  12:03:00  /home  1

views that came too late to be counted
  12:00:56  /shop

visits that are over
  12:00:25 to 12:00:25  bo    1 views
  12:00:56 to 12:00:58  bo    2 views
  12:00:05 to 12:01:04  anna  4 views
  12:01:30 to 12:01:45  cleo  2 views
  12:02:15 to 12:02:15  bo    1 views
`

func TestWhatIsPrinted(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", &out))
	require.Equal(t, told, out.String())
}

// The program alone, without a broker: each view is in one final count or among the late ones.
func TestNoViewIsLost(t *testing.T) {
	topo, err := program.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	in := d.Input(program.Views)
	for _, v := range views() {
		in.SendRecord(v)
	}
	in.Send("nobody", "/end", at(59, 0)) // closes all windows but its own
	sum := int64(d.Output(program.Late).Len())
	seen := map[stream.WindowedKey[string]]bool{}
	for _, r := range d.Output(program.Final).ReadAll() {
		require.False(t, seen[r.Key], "%v is final twice", r.Key)
		seen[r.Key] = true
		sum += r.Value
	}
	require.EqualValues(t, len(views()), sum)
	sum = 0
	for _, r := range d.Output(program.Visits).ReadAll() {
		sum += r.Value
	}
	require.EqualValues(t, len(views()), sum)
}

// On a cluster it prints the same, and leaves nothing behind.
func TestOnACluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := brokertest.New(t, brokertest.Configure(func(c *broker.Config) { c.Listener = l }))
	for range 2 {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), b.Addr(), &out))
		require.Equal(t, told, out.String())
	}
	client, err := runtime.NewClient(runtime.Config{Broker: b})
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Create(t.Context(), 2, program.Views))
	require.ErrorContains(t, run(t.Context(), b.Addr(), &bytes.Buffer{}), program.Views.Name()+" exists")
	offsets, err := client.Offsets(t.Context(), program.Views, runtime.Earliest())
	require.NoError(t, err)
	require.Len(t, offsets, 2, "it is somebody else's")
}
