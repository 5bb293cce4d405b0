package streamtest_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// A call of a service fails, and is tried again after a second, and after two more. The record waits for that with all
// that is behind it in its partition.
func ExampleDriver_AdvanceWallClock_retry() {
	calls := 0
	b := stream.NewBuilder()
	b.Stream(texts).Try().MapValues(func(_ *stream.Call, _, v string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("the service is away")
		}
		return v + ", delivered", nil
	}).To(out)
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	d := streamtest.Open(topo, streamtest.Config{
		Errors: topology.Errors{Process: topology.Retry{First: time.Second, Attempts: 5}},
	})
	defer d.Close()
	in, delivered := d.Input(texts), d.Output(out)
	in.Send("anna", "parcel", 1)
	in.Send("bo", "letter", 2)
	for range 3 {
		fmt.Println(calls, delivered.ReadStrings())
		d.AdvanceWallClock(1500 * time.Millisecond)
	}
	fmt.Println(calls, delivered.ReadStrings())
	// Output:
	// 1 []
	// 2 []
	// 4 [anna=parcel, delivered@1 bo=letter, delivered@2]
	// 4 []
}
