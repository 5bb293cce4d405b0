package archtest

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layers is the import policy. "a, b < c, d" lets c and d import a and b, and whatever those may import. A package that
// is not named belongs to the nearest directory above it that is, and inside one name everything is free.
//
// Do not change it to fix a build: a package that wants an import from above it is in the wrong place, or the thing it
// wants is. Test files are not bound by it.
const layers = `
	# Leaves, for everyone.
	NONE < internal/invariant, internal/dirlock, internal/clock, internal/memory, internal/defect;
	internal/invariant < internal/batch, serde, state/engine;

	# State: typed stores over a byte engine. The engines know nothing of the stores.
	serde, state/engine, internal/memory < state;
	internal/memory < state/pebble, broker;
	state/internal/layout < state, state/pebble;
	state/engine < state/memory, state/pebble, state/statetest;
	internal/invariant < state/internal/layout;
	internal/clock < state/pebble;

	# Topology: the processor graph, where DSL and runtime meet.
	internal/batch, state < topology;
	topology < internal/plan, internal/align, stream/internal/op;
	internal/align < internal/task;

	# What a start compares.
	state < internal/progress;
	internal/progress < internal/origin;

	# The DSL. It never sees the runtime.
	internal/plan, stream/internal/op < stream;
	stream, internal/task, state/memory < stream/streamtest;

	# The broker stands alone.
	internal/batch, internal/direct, internal/dirlock, internal/clock, internal/defect < broker;
	broker < broker/brokertest;

	# The client is what a worker sees of a broker. It does not link the bundled one.
	NONE < internal/assign, internal/direct;
	internal/defect < internal/kclient, internal/task, runtime;
	internal/assign, internal/batch, internal/direct < internal/kclient;
	internal/assign, internal/invariant < internal/tasks;

	# The runtime. It never sees the DSL.
	topology, internal/task, internal/assign, internal/kclient, state/pebble, state/memory, internal/dirlock < runtime;
	internal/origin, internal/progress, internal/tasks < runtime;

	# Programs and whole-system tests see everything.
	stream, runtime, broker < examples, internal/verify, internal/oracle, internal/sim, cmd;
	stream/streamtest, broker/brokertest < examples, internal/verify, internal/oracle, internal/sim, cmd;
	examples < cmd;

	NONE < internal/archtest, internal/faultfs, internal/kafkatest;
	serde < serde/serdetest;
`

// modules says which packages may import which foreign packages, by the longest prefix; these rights are not passed
// on. What stands below a named package counts as that package. Test files are not bound by it.
const modules = `
	github.com/cockroachdb/pebble/v2      state/pebble
	github.com/cockroachdb/pebble/v2/vfs  internal/dirlock internal/faultfs state/pebble broker runtime cmd examples
	github.com/google/uuid                serde broker runtime cmd
	github.com/klauspost/compress         internal/batch
	github.com/pierrec/lz4/v4             internal/batch
	github.com/spf13/cobra                cmd
	github.com/stretchr/testify           serde/serdetest state/statetest stream/streamtest broker/brokertest
	github.com/tidwall/btree              state
	github.com/twmb/franz-go              internal/kclient runtime broker cmd
	github.com/vmihailenco/msgpack/v5     serde
	golang.org/x/sync                     broker internal/kclient runtime cmd
	golang.org/x/sys                      broker/internal/log
	google.golang.org/protobuf            serde
`

func TestImportsFollowTheLayers(t *testing.T) {
	policy := parseLayers(t, layers)
	foreign := parseModules(modules)
	var found findings
	for _, f := range sourceFiles(t) {
		if f.test {
			continue
		}
		from := policy.nameOf(f.pkg)
		if from == "" {
			found.add(f, f.file.Package, "package %s is not in the import policy", f.pkg)
			continue
		}
		for _, spec := range f.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if pkg, ours := strings.CutPrefix(path, module+"/"); ours {
				if to := policy.nameOf(pkg); to != from && !policy.allowed[from][to] {
					found.add(f, spec.Pos(), "%s may not import %s (layers_test.go)", f.pkg, pkg)
				}
			} else if strings.Contains(strings.Split(path, "/")[0], ".") && !mayImport(foreign, f.pkg, path) {
				found.add(f, spec.Pos(), "%s may not import %s (layers_test.go)", f.pkg, path)
			}
		}
	}
	found.report(t)
}

// The policy itself keeps the laws that it was written for.
func TestLayersKeepTheLaws(t *testing.T) {
	p := parseLayers(t, layers)
	for _, law := range []struct{ from, to string }{
		{"stream", "runtime"}, {"runtime", "stream"}, {"topology", "stream"}, {"topology", "runtime"},
		{"state", "topology"}, {"serde", "state"}, {"state/engine", "serde"}, {"internal/task", "internal/kclient"},
		{"internal/task", "broker"}, {"stream", "broker"}, {"broker", "state"}, {"broker", "topology"},
		{"broker", "serde"}, {"broker", "internal/kclient"}, {"runtime", "broker"},
		{"internal/kclient", "broker"}, {"internal/kclient", "topology"}, {"internal/assign", "broker"},
	} {
		require.False(t, p.allowed[law.from][law.to], "%s may import %s", law.from, law.to)
	}
	for _, from := range []string{"internal/plan", "internal/task", "stream/internal/op", "stream", "runtime"} {
		require.True(t, p.allowed[from]["serde"], from)
	}
}

// A program that uses a cluster does not carry a broker.
func TestTheRuntimeLinksNoBroker(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/runtime").Output()
	require.NoError(t, err)
	for dep := range strings.FieldsSeq(string(out)) {
		require.False(t, within(dep, module+"/broker"), "runtime imports %s", dep)
	}
}

// Tests of topologies build quickly: they link neither the state engine on disk nor a Kafka client nor a broker.
func TestTheTestDriverLinksLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/stream/streamtest").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, module+"/internal/task")
	for _, dep := range deps {
		for _, heavy := range []string{
			"github.com/cockroachdb/pebble", "github.com/twmb/franz-go", module + "/broker", module + "/runtime",
			module + "/internal/kclient", "github.com/stretchr/testify",
		} {
			require.False(t, within(dep, heavy), "stream/streamtest imports %s", dep)
		}
	}
}

type layerPolicy struct {
	allowed map[string]map[string]bool // importer → imported, transitive
}

// parseLayers reads the rules and closes them; a cycle in them is an error.
func parseLayers(t *testing.T, text string) layerPolicy {
	t.Helper()
	direct := map[string]map[string]bool{}
	for rule := range strings.SplitSeq(withoutComments(text), ";") {
		rule = strings.TrimSpace(rule)
		if rule == "" {
			continue
		}
		lower, upper, ok := strings.Cut(rule, "<")
		require.True(t, ok, "rule %q has no <", rule)
		for _, u := range names(upper) {
			if direct[u] == nil {
				direct[u] = map[string]bool{}
			}
			for _, l := range names(lower) {
				if l != "NONE" {
					direct[u][l] = true
				}
			}
		}
	}
	p := layerPolicy{map[string]map[string]bool{}}
	var closure func(name string, path []string)
	closure = func(name string, path []string) {
		require.NotContains(t, path, name, "the rules run in a circle")
		require.Contains(t, direct, name, "%s is imported but never stands on the right of a rule", name)
		if p.allowed[name] != nil {
			return
		}
		all := map[string]bool{}
		for below := range direct[name] {
			closure(below, append(slices.Clone(path), name))
			all[below] = true
			maps.Copy(all, p.allowed[below])
		}
		p.allowed[name] = all
	}
	for name := range direct {
		closure(name, nil)
	}
	return p
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

func names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		out = append(out, strings.TrimSpace(name))
	}
	return out
}

// nameOf returns the name that pkg has in the policy: its own or that of the nearest directory above.
func (p layerPolicy) nameOf(pkg string) string {
	for pkg != "" {
		if _, ok := p.allowed[pkg]; ok {
			return pkg
		}
		i := strings.LastIndexByte(pkg, '/')
		if i < 0 {
			return ""
		}
		pkg = pkg[:i]
	}
	return ""
}

func parseModules(text string) map[string][]string {
	rights := map[string][]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 {
			rights[f[0]] = f[1:]
		}
	}
	return rights
}

func mayImport(rights map[string][]string, pkg, path string) bool {
	for prefix := path; ; {
		if importers, ok := rights[prefix]; ok {
			return slices.ContainsFunc(importers, func(i string) bool { return within(pkg, i) })
		}
		i := strings.LastIndexByte(prefix, '/')
		if i < 0 {
			return false
		}
		prefix = prefix[:i]
	}
}

func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
