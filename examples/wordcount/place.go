package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/runtime"
)

// place is where the application runs: the bundled broker or a cluster, and a directory.
type place struct {
	broker    *broker.Broker // nil for a cluster
	seeds     []string
	dir       string
	temporary bool
}

func openPlace(o options, logger *slog.Logger) (*place, error) {
	p := &place{dir: o.dir}
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "wordcount-")
		if err != nil {
			return nil, err
		}
		p.dir, p.temporary = dir, true
	}
	if o.brokers != "" {
		p.seeds = strings.Split(o.brokers, ",")
		return p, nil
	}
	b, err := broker.Open(broker.Config{Dir: filepath.Join(p.dir, "broker"), Logger: logger})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.broker = b
	return p, nil
}

func (p *place) close() (err error) {
	if p.broker != nil {
		err = p.broker.Close()
	}
	if p.temporary {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}

// config says where the application finds its broker and keeps its state.
func (p *place) config() runtime.Config {
	return runtime.Config{Broker: p.broker, Seeds: p.seeds, StateDir: filepath.Join(p.dir, "state")}
}

// client is a plain Kafka client, to feed the input and to read the result.
func (p *place) client(opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append(opts,
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MaxBufferedRecords(100_000),
		kgo.DisableClientMetrics(),
	)
	if p.broker != nil {
		opts = append(opts, kgo.SeedBrokers(p.broker.Addr()), kgo.Dialer(p.broker.Dial))
	} else {
		opts = append(opts, kgo.SeedBrokers(p.seeds...))
	}
	return kgo.NewClient(opts...)
}
