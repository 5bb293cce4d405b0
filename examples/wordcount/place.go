package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"thalweg/broker"
	"thalweg/runtime"
)

// place is where the program runs: the bundled broker in this process or a cluster, and a directory.
type place struct {
	config runtime.Config
	client *runtime.Client
	broker *broker.Broker // nil for a cluster
	remove string         // a temporary directory
}

// openPlace opens what the options name. What has to be kept lies in -dir, without one in a temporary directory.
func openPlace(ctx context.Context, o options, logger *slog.Logger) (_ *place, err error) {
	p := &place{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "wordcount-"); err != nil {
			return nil, err
		}
		p.remove = dir
	}
	p.config = runtime.Config{
		State:   runtime.StateConfig{Dir: filepath.Join(dir, "state")},
		Workers: o.workers,
		Topics:  runtime.Topics{Partitions: 4, CreateOnCluster: true, Config: map[string]string{"retention.ms": "-1"}},
		Logger:  logger,
	}
	if o.brokers != "" {
		p.config.Seeds = strings.Split(o.brokers, ",")
	} else {
		if p.broker, err = broker.Open(broker.Config{Dir: filepath.Join(dir, "broker"), Logger: logger}); err != nil {
			return nil, err
		}
		p.config.Broker = p.broker
	}
	if p.client, err = runtime.NewClient(p.config); err != nil {
		return nil, err
	}
	return p, p.client.Ping(ctx)
}

func (p *place) close() (err error) {
	if p.client != nil {
		p.client.Close()
	}
	if p.broker != nil {
		err = p.broker.Close()
	}
	if p.remove != "" {
		err = errors.Join(err, os.RemoveAll(p.remove))
	}
	return err
}
