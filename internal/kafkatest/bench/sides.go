package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// workloads are those that both sides have.
var workloads = []string{
	"stateless", "wordcount", "count", "window", "session", "table-join", "stream-join", "restore", "large",
	"huge", "huge-z", "window-repartition", "latency",
	"broker-produce", "broker-consume", "broker-small", "broker-e2e", "broker-many",
}

func isWorkload(name string) bool { return slices.Contains(workloads, name) }

// result is what one run measured: the line of JSON that both sides print.
type result struct {
	Topics       []string                              `json:"topics"`
	Partitions   int                                   `json:"partitions"`
	Records      int64                                 `json:"records"`
	Words        int64                                 `json:"words"`
	WallSeconds  float64                               `json:"wall_s"`
	CPUSeconds   float64                               `json:"cpu_s"`
	PerSecond    float64                               `json:"per_s"`
	PerCPUSecond float64                               `json:"per_cpu_s"`
	PeakRSSMiB   float64                               `json:"peak_rss_mib"`
	Results      int64                                 `json:"results"`
	Checked      string                                `json:"checked"`
	Latency      struct{ P50, P99, P999, Max float64 } `json:"latency_ms"`
	Load         load                                  `json:"load"`
}

// thalweg is our side: a process for each run.
type thalweg struct {
	o      options
	binary string
}

// fill makes the topics, by running the workload over them once on the cluster.
func (t *thalweg) fill(ctx context.Context) (result, error) {
	if t.o.workload == "latency" {
		return result{Partitions: 1, Topics: []string{"-"}}, nil
	}
	return t.bench(ctx, "--brokers", t.o.brokers)
}

func (t *thalweg) run(ctx context.Context) (result, error) {
	switch {
	case !t.o.native:
		return t.bench(ctx, "--brokers", t.o.brokers)
	case t.o.workload == "latency" || t.o.workload == "restore":
		return t.bench(ctx)
	default:
		return t.bench(ctx, "--filled")
	}
}

func (t *thalweg) bench(ctx context.Context, args ...string) (r result, err error) {
	o := t.o
	line, err := output(ctx, "", t.binary, append([]string{
		"bench", o.workload, "--json", "--guarantee", o.guarantee, "--commit", o.commit.String(),
		"--workers", strconv.Itoa(o.threads), "--records", strconv.Itoa(o.records),
		"--partitions", strconv.Itoa(o.partitions), "--passes", strconv.Itoa(o.passes), "--rate", strconv.Itoa(o.rate),
		"--warmup", o.warmup.String(), "--measure", o.measure.String(), "--topics", strconv.Itoa(o.topics),
		"--batch", strconv.Itoa(o.batch),
	}, args...)...)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(line), &r)
}

// kafkaStreams is the other side: a JVM that runs the workload each time that it is told to.
type kafkaStreams struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startKafkaStreams starts the JVM with the classes of a directory, where it also keeps its state. The first run of
// ours says which records are to be read.
func startKafkaStreams(ctx context.Context, o options, dir, jars string, first result) (*kafkaStreams, error) {
	args := []string{"-Xmx" + o.heap, "-cp", dir + ":" + jars}
	if o.tuned {
		args = append(args, "-XX:+UseParallelGC")
	}
	args = append(args, "Bench", o.brokers, o.workload, "inputs="+strings.Join(first.Topics, ","),
		"guarantee="+o.guarantee, "commit="+strconv.FormatInt(o.commit.Milliseconds(), 10),
		"threads="+strconv.Itoa(o.threads), "tuned="+strconv.FormatBool(o.tuned),
		"dir="+dir, "words="+strconv.FormatInt(first.Words, 10))
	k := &kafkaStreams{cmd: exec.CommandContext(ctx, "java", args...)}
	k.cmd.Stderr = os.Stderr
	k.cmd.WaitDelay = 10 * time.Second
	in, inErr := k.cmd.StdinPipe()
	out, outErr := k.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	k.in, k.out = in, bufio.NewReader(out)
	return k, k.cmd.Start()
}

// tell sends a command and reads the line of JSON that answers it. Other lines are the JVM's log.
func (k *kafkaStreams) tell(command string) (r result, err error) {
	if _, err := fmt.Fprintln(k.in, command); err != nil {
		return r, fmt.Errorf("kafka streams: %w", err)
	}
	for {
		line, err := k.out.ReadString('\n')
		if err != nil {
			return r, fmt.Errorf("kafka streams: %q was not answered: %w", command, err)
		}
		if strings.HasPrefix(line, "{") {
			return r, json.Unmarshal([]byte(line), &r)
		}
		fmt.Fprint(os.Stderr, line)
	}
}

func (k *kafkaStreams) run(context.Context) (result, error) { return k.tell("run") }

func (k *kafkaStreams) close() error { return errors.Join(k.in.Close(), k.cmd.Wait()) }

// latencyThere measures Kafka Streams with our generator and consumer, in a process of their own.
type latencyThere struct {
	ours *thalweg
	app  *kafkaStreams
	runs int
}

func (l *latencyThere) run(ctx context.Context) (r result, err error) {
	l.runs++
	name := fmt.Sprintf("latency-java-%d-%d", os.Getpid(), l.runs)
	for _, topic := range []string{name + "-in", name + "-out"} {
		if _, err := output(ctx, "", l.ours.binary, "topics", "create", topic, "-p", "1", "--brokers",
			l.ours.o.brokers); err != nil {
			return r, err
		}
	}
	if _, err := l.app.tell("start " + name); err != nil {
		return r, err
	}
	if r, err = l.ours.bench(ctx, "--brokers", l.ours.o.brokers, "--elsewhere", name); err != nil {
		return r, err
	}
	_, err = l.app.tell("stop")
	return r, err
}
