package state_test

import (
	"fmt"
	"log"
	"time"

	"thalweg/state"
	"thalweg/state/memory"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A store belongs to a transaction. What is not committed can be taken back; what is, readers see after a checkpoint.
func ExampleKV() {
	engine := memory.New()
	defer engine.Close()
	tx := state.NewTx(state.Config{Engine: engine, Namespace: state.Namespace(0)})
	depths := state.NewKV[string, int64]("depths")
	store, err := depths.Open(tx)
	must(err)

	commit := func() {
		must(tx.Flush())
		must(tx.Drain(func(state.Store, []byte, []byte, int64) error { return nil })) // to a changelog
		must(tx.Commit(func(string) int64 { return -1 }))
	}
	must(store.Put("lake", 40, 1))
	must(store.Put("sea", 4000, 2))
	commit()
	must(store.Put("lake", 41, 3))
	must(tx.Discard())

	depth, timestamp, ok, err := store.Get("lake")
	fmt.Println(depth, timestamp, ok, err)

	must(tx.Checkpoint())
	reader := state.NewReader(engine, state.Namespace(0))
	for e, err := range depths.Read(reader).All() {
		fmt.Println(e.Key, e.Value, err)
	}
	// Output:
	// 40 1 true <nil>
	// lake 40 <nil>
	// sea 4000 <nil>
}

// Windows are rows of a key and a time. Whole windows expire.
func ExampleWindowed() {
	tx := state.NewTx(state.Config{Engine: memory.New(), Namespace: state.Namespace(0)})
	store, err := state.NewWindowed[string, int64]("per-minute").Retain(time.Hour).Size(time.Minute).Open(tx)
	must(err)
	minute := time.Minute.Milliseconds()
	for i := range int64(3) {
		must(store.Put("lake", i*minute, 10*i, i*minute))
	}
	for e, err := range store.Fetch("lake", minute, 5*minute) {
		fmt.Println(e.Start, e.Value, err)
	}
	// Output:
	// 60000 10 <nil>
	// 120000 20 <nil>
}

// A versioned store knows what was at a time.
func ExampleVersioned() {
	tx := state.NewTx(state.Config{Engine: memory.New(), Namespace: state.Namespace(0)})
	store, err := state.NewVersioned[string, string]("prices", time.Hour).Open(tx)
	must(err)
	for _, v := range []struct {
		price string
		since int64
	}{{"cheap", 10}, {"dear", 20}} {
		_, _, err := store.Put("tea", v.price, v.since)
		must(err)
	}
	for _, at := range []int64{5, 15, 25} {
		price, _, ok, err := store.GetAsOf("tea", at)
		fmt.Println(at, price, ok, err)
	}
	// Output:
	// 5  false <nil>
	// 15 cheap true <nil>
	// 25 dear true <nil>
}
