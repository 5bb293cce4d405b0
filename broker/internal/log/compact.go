package log

func (l *Log) compact(config *Config, now int64) error { return nil }
