package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// written writes a project called hello and returns its files.
func written(t *testing.T) (dir string, files map[string]string) {
	t.Helper()
	lib, err := FindLibrary(t.Context(), "")
	require.NoError(t, err)
	dir = filepath.Join(t.TempDir(), "hello")
	names, err := Write(dir, lib)
	require.NoError(t, err)
	files = map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NotContains(t, string(text), "skeleton", name)
		require.NotContains(t, string(text), "{{", name)
		files[name] = string(text)
	}
	return dir, files
}

// What go.mod and go.sum say is enough to build: nothing is looked up, and nothing has to be tidied before. The program
// and its test are packages of this module, which run with its tests; internal/verify/project builds a whole project
// with an empty module cache.
func TestGoAcceptsTheModule(t *testing.T) {
	dir, files := written(t)
	require.Contains(t, files["go.mod"], "module hello\n")
	require.Regexp(t, `(?m)^toolchain go1\.\d+`, files["go.mod"])
	cmd := exec.Command("go", "list", "-deps", "-test", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, strings.Split(string(out), "\n"), "thalweg/runtime")
	require.Contains(t, strings.Split(string(out), "\n"), "hello")
}

func TestReleasedVersion(t *testing.T) {
	mod, sum, toolchain, err := Library{Version: "v1.2.3"}.moduleFiles("hello")
	require.NoError(t, err)
	require.Contains(t, string(mod), "require thalweg v1.2.3\n")
	require.NotContains(t, string(mod), "replace")
	require.Contains(t, string(mod), "toolchain "+toolchain+"\n")
	require.Empty(t, sum)
}

func TestLibraryElsewhere(t *testing.T) {
	_, err := FindLibrary(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "go.mod")
	dir := filepath.Join(t.TempDir(), "a library")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module other\n"), 0o644))
	_, err = FindLibrary(t.Context(), dir)
	require.ErrorContains(t, err, "does not hold the module thalweg")
	text := "module thalweg\n\ngo 1.27\ntoolchain go1.27.4\n" +
		"require a.b/c v1.0.0\nrequire (\n\td.e/f v2.0.0 // indirect\n)\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte("sums\n"), 0o644))
	lib, err := FindLibrary(t.Context(), dir)
	require.NoError(t, err)
	mod, sum, _, err := lib.moduleFiles("hello")
	require.NoError(t, err)
	require.Contains(t, string(mod), "replace thalweg => \""+dir+"\"\n")
	require.Contains(t, string(mod), "\ta.b/c v1.0.0 // indirect\n\td.e/f v2.0.0 // indirect\n")
	require.Equal(t, "sums\n", string(sum))
}

func TestRefusals(t *testing.T) {
	lib, err := FindLibrary(t.Context(), "")
	require.NoError(t, err)
	for _, name := range []string{"Hello", "1st", "hello.world", "thalweg", "-"} {
		_, err := Write(filepath.Join(t.TempDir(), name), lib)
		require.ErrorContains(t, err, "cannot name an application", name)
	}
	dir, _ := written(t)
	_, err = Write(dir, lib)
	require.ErrorContains(t, err, "is not empty")
}

// flags are those that the program has.
func flags(t *testing.T, files map[string]string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`flag\.\w+\(&o\.\w+, "([a-z]+)"`).FindAllStringSubmatch(files["main.go"], -1) {
		names = append(names, "-"+m[1])
	}
	require.NotEmpty(t, names)
	return names
}

func TestDockerfile(t *testing.T) {
	_, files := written(t)
	first, _, _ := strings.Cut(files["Dockerfile"], "\n")
	require.Contains(t, first, "--build-context thalweg=/", "the first comment names the second build context")
	stages := []string{"thalweg"}
	var entry string
	for line := range strings.Lines(files["Dockerfile"]) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		switch f[0] {
		case "FROM":
			require.Regexp(t, `^FROM [\w./:-]+( AS \w+)?$`, line)
			stages = append(stages, f[len(f)-1])
		case "COPY":
			from, ok := strings.CutPrefix(f[1], "--from=")
			if ok {
				require.Contains(t, stages, from, line)
				f = f[1:]
			}
			require.Len(t, f, 3, line)
		case "RUN", "WORKDIR", "VOLUME":
			require.Greater(t, len(f), 1, line)
		case "ENTRYPOINT":
			entry = strings.Join(f[1:], " ")
		default:
			require.Fail(t, "instruction "+f[0])
		}
	}
	require.Equal(t, `["/hello", "-serve", "-dir", "/state"]`, entry)
	require.Subset(t, flags(t, files), []string{"-serve", "-dir"})
	require.Regexp(t, `FROM golang:1\.\d+\.\d+ AS build`, files["Dockerfile"])
	require.Contains(t, files["go.mod"], "\ntoolchain go"+
		regexp.MustCompile(`golang:([\d.]+)`).FindStringSubmatch(files["Dockerfile"])[1]+"\n")
}

func TestCompose(t *testing.T) {
	_, files := written(t)
	var compose struct {
		Services map[string]struct {
			Image string
			Build struct {
				Context  string
				Contexts map[string]string `yaml:"additional_contexts"`
			}
			Command     []string
			Volumes     []string
			Environment map[string]string
			Ports       []string
			Healthcheck struct {
				Test              []string
				Interval, Timeout string
				Retries           int
			}
			DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	d := yaml.NewDecoder(strings.NewReader(files["compose.yaml"]))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&compose))
	app, kafka := compose.Services["hello"], compose.Services["kafka"]
	require.NotEmpty(t, app.Build.Contexts["thalweg"])
	require.Equal(t, "service_healthy", app.DependsOn["kafka"].Condition)
	require.Contains(t, compose.Volumes, strings.Split(app.Volumes[0], ":")[0])
	require.Contains(t, files["Dockerfile"], "VOLUME "+strings.Split(app.Volumes[0], ":")[1]+"\n")
	at := slices.Index(app.Command, "-brokers")
	require.Contains(t, flags(t, files), "-brokers")
	// The application calls Kafka by an address that Kafka names to its clients.
	require.Contains(t, kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], "COMPOSE://"+app.Command[at+1])
	require.True(t, strings.HasPrefix(kafka.Image, "apache/kafka:"))
	require.NotEmpty(t, kafka.Healthcheck.Test)
}

func TestMakefile(t *testing.T) {
	_, files := written(t)
	require.Regexp(t, `(?m)^test: ##.*\n\tgo test \./\.\.\.$`, files["Makefile"])
	require.Regexp(t, `(?m)^run: ##.*\n\tgo run \.$`, files["Makefile"])
}
