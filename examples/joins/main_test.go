package main

import (
	"bytes"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/examples/joins/program"
	"thalweg/runtime"
	"thalweg/stream/streamtest"
)

const told = `receipts: each order, with its customer as of then (stream and table)
  10:00  anna: order 1: bread for Anna in Oslo
  10:05  bo: order 2: cheese for Bo in Malmö
  10:10  anna: order 3: wine for Anna in Oslo
  12:30  anna: order 4: apples for Anna in Bergen

payments: each order, with what was paid within an hour (stream and stream)
  10:20  1: paid
  10:30  3: 500 cents are missing
  10:05  2: not paid within an hour

labels: each order, with its customer as of now (table and table, by a foreign key)
  1: bread to Anna, Bergen
  2: cheese to Bo, Malmö
  3: wine to Anna, Bergen
  4: apples to Anna, Bergen
`

func TestTheStory(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", &out))
	require.Equal(t, told, out.String())
}

// The program alone, without a broker: what it does when customers come and go.
func TestLabelsFollowTheCustomer(t *testing.T) {
	topo, err := program.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Partitions: 3})
	customers, orders := d.Input(program.Customers), d.Input(program.Orders)
	receipts, labels := d.Output(program.Receipts), d.Output(program.Labels)

	orders.Send("1", program.Order{Number: "1", Customer: "anna", Item: "bread"}, 1)
	require.Zero(t, receipts.Len()+labels.Len(), "nobody knows anna")
	customers.Send("anna", program.Customer{Name: "Anna", City: "Oslo"}, 2)
	require.Equal(t, []string{"1=bread to Anna, Oslo@2"}, labels.ReadStrings())
	require.Zero(t, receipts.Len(), "a stream meets a table once, when its record comes")
	orders.Send("1", program.Order{Number: "1", Customer: "anna", Item: "wine"}, 3)
	require.Equal(t, []string{"1=wine to Anna, Oslo@3"}, labels.ReadStrings())
	require.Equal(t, []string{"anna=order 1: wine for Anna in Oslo@3"}, receipts.ReadStrings())
	customers.SendNull("anna", 4)
	require.Equal(t, []string{"1=~@4"}, labels.ReadStrings())
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
	require.NoError(t, client.Create(t.Context(), 2, program.Orders))
	require.ErrorContains(t, run(t.Context(), b.Addr(), &bytes.Buffer{}), program.Orders.Name()+" exists")
	offsets, err := client.Offsets(t.Context(), program.Orders, runtime.Earliest())
	require.NoError(t, err)
	require.Len(t, offsets, 2, "it is somebody else's")
}
