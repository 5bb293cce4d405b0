package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/examples/aggregate/program"
)

// table is what is printed, without the header, by customer.
func table(t *testing.T, out string) map[string]string {
	rows := map[string]string{}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Equal(t, "customer orders cents largest of", strings.Join(strings.Fields(lines[0]), " "))
	for _, line := range lines[1:] {
		customer, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		require.NotContains(t, rows, customer)
		rows[customer] = rest
	}
	return rows
}

func rows(summaries map[string]program.Summary) map[string]string {
	want := map[string]string{}
	for customer, s := range summaries {
		want[customer] = fmt.Sprintf("%d %d %d %s", s.Orders, s.Cents, s.Largest.Cents, s.Largest.Item)
	}
	return want
}

func TestTableIsTheSumOfAllRuns(t *testing.T) {
	o := options{orders: 2000, customers: 30, seed: 7, dir: t.TempDir()}
	want := map[string]program.Summary{}
	for range 2 {
		for r := range generate(o) {
			want[r.Key] = want[r.Key].Add(r.Value)
		}
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), o, &out))
		require.Equal(t, rows(want), table(t, out.String()))
		o.seed++
	}
}

func TestSummaryKeepsTheFirstOfTheLargest(t *testing.T) {
	var s program.Summary
	for n, cents := range []int64{-5, 9, 3, 9} {
		s = s.Add(program.Order{Number: int64(n), Cents: cents})
	}
	require.Equal(t, program.Summary{Orders: 4, Cents: 16, Largest: program.Order{Number: 1, Cents: 9}}, s)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-orders", "-1"}, {"-customers", "0"}, {"more"}, {"-unknown"}} {
		_, err := parse(args)
		require.Error(t, err, "%v", args)
	}
}

func TestInterruption(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, run(ctx, options{orders: 10, customers: 1}, &bytes.Buffer{}))
}
