package main

import (
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Reading is what a weather station sends, as JSON: {"at":"2026-05-04T12:00:07Z","celsius":14.2}. The key of the record
// is the station's name.
type Reading struct {
	At      time.Time `json:"at"`
	Celsius float64   `json:"celsius"`
}

// Minute is what one station measured in one minute.
type Minute struct {
	From     time.Time `json:"from"`
	Readings int       `json:"readings"`
	Mean     float64   `json:"mean"`
	Max      float64   `json:"max"`
}

// sum is a minute that is not over yet.
type sum struct {
	Readings int
	Celsius  float64
	Max      float64
}

// The topics. A reading's time is the one that the station wrote into it, not the time at which it arrived.
var (
	Readings = stream.NewTopic[string, Reading]("readings").
			Values(serde.JSON[Reading]()).
			Timestamps(func(r topology.Record[string, Reading], _ int64) int64 { return r.Value.At.UnixMilli() })
	Minutes = stream.NewTopic[string, Minute]("minutes").Values(serde.JSON[Minute]())
	Late    = stream.NewTopic[string, Reading]("late-readings").Values(serde.JSON[Reading]())

	openMinutes = state.NewWindowed[string, sum]("open-minutes")
)

// build is the whole program. A minute stays open for 30 seconds more, by the time of the newest reading, so that
// readings which are a little late still count. Then its result is final and goes out once. What comes later than that
// goes to a topic of its own: nothing is lost, and no result that was sent has to be corrected.
func build() (*stream.Topology, error) {
	b := stream.NewBuilder()
	minutes := b.Stream(Readings).
		GroupByKey().
		Windowed(stream.Tumbling(time.Minute, 30*time.Second)).
		Emit(stream.OnClose)

	minutes.
		Aggregate(openMinutes, func() sum { return sum{} }, add).
		ToStream(stream.WindowKey).
		Map(result).
		To(Minutes)
	minutes.Late().To(Late)
	return b.Build()
}

// add is a minute with one more reading.
func add(_ string, r Reading, s sum) sum {
	if s.Readings == 0 || r.Celsius > s.Max {
		s.Max = r.Celsius
	}
	s.Readings++
	s.Celsius += r.Celsius
	return s
}

// result makes a record of a minute that is over.
func result(k stream.WindowedKey[string], s sum) (string, Minute) {
	return k.Key, Minute{
		From:     time.UnixMilli(k.Span.Start).UTC(),
		Readings: s.Readings,
		Mean:     s.Celsius / float64(s.Readings),
		Max:      s.Max,
	}
}
