// Package program counts the views of a site's pages.
package program

import (
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// ApplicationID begins the names of all topics.
const ApplicationID = "windows"

// Views come in: who looks at which page.
var Views = stream.NewTopic[string, string]("windows-views")

// What goes out. A page or a visitor with a window is the key of most of it.
var (
	Running = stream.NewTopic[stream.WindowedKey[string], int64]("windows-running") // each count as it grows
	Final   = stream.NewTopic[stream.WindowedKey[string], int64]("windows-final")   // each count once
	Late    = stream.NewTopic[string, string]("windows-late")                       // what no count has in it
	Visits  = stream.NewTopic[stream.WindowedKey[string], int64]("windows-visits")
)

// What is kept.
var (
	pageMinutes = state.NewWindowed[string, int64]("page-minutes")
	visits      = state.NewSession[string, int64]("visits")
)

// Build is the whole program.
func Build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	views := b.Stream(Views)

	// The views of each page in each minute. A view counts when it comes no more than ten seconds after its minute, by
	// the time of the newest view.
	minutes := views.
		GroupBy("by-page", func(_, page string) string { return page }).
		Windowed(stream.Tumbling(time.Minute, 10*time.Second))
	counts := minutes.Count(pageMinutes)
	counts.ToStream(stream.WindowKey).To(Running)
	counts.Suppress(stream.UntilWindowCloses("final-counts")).ToStream(stream.WindowKey).To(Final)
	minutes.Late().To(Late)

	// The visits of each visitor: views with no more than half a minute between them. A visit that grows comes out
	// again, under its new window, and is taken back under its old one. Final visits come out once.
	views.GroupByKey().
		Sessions(stream.SessionGap(30*time.Second, 10*time.Second)).
		Emit(stream.OnClose).
		Count(visits).
		ToStream(stream.WindowKey).
		To(Visits)

	return b.Build()
}
