package broker

// Acks says how much has to be certain before a produce is answered.
type Acks int8

const (
	// AcksAll answers when the records are durable as Config.Sync defines it. It is the zero value.
	AcksAll Acks = iota
	// AcksLeader answers when the records are written, durable or not.
	AcksLeader
	// AcksNone does not wait either; over the network there is no answer at all.
	AcksNone
)

// ProduceRequest asks to append record batches to partitions.
type ProduceRequest struct {
	// TransactionalID is set when the batches are transactional. The partitions join the producer's transaction by
	// being written to.
	TransactionalID string
	Acks            Acks
	Partitions      []ProducePartition
}

// ProducePartition is what goes to one partition.
type ProducePartition struct {
	Topic     string
	Partition int32
	// Batches holds one or several whole record batches v2. The broker writes offsets into them and keeps the memory
	// to serve fetches from: the caller gives the slice away.
	Batches []byte
}

// ProduceResult answers one ProducePartition, in the order of the request.
type ProduceResult struct {
	Topic          string
	Partition      int32
	BaseOffset     int64 // of the first batch; -1 on error
	LogAppendTime  int64 // milliseconds; -1 unless the topic stamps records on arrival
	LogStartOffset int64
	// Err is nil or an error that wraps the protocol's *kerr.Error (errors.As).
	Err error
}
