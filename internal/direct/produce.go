package direct

// Acks says how much has to be certain before a produce is answered.
type Acks int8

const (
	// AcksAll answers when the records are durable as Config.Sync defines it. It is the zero value.
	AcksAll Acks = iota
	// AcksLeader waits for the same sync: readers see durable records only, and see what was acknowledged. Unlike AcksAll
	// it does not ask for min.insync.replicas.
	AcksLeader
	// AcksNone answers when the records are written, durable or not. Over the network there is no answer at all.
	AcksNone
)

// ProduceRequest asks to append record batches to partitions.
type ProduceRequest struct {
	// TransactionalID is set when the batches are transactional. The partitions join the producer's transaction by
	// being written to.
	TransactionalID string
	Acks            Acks
	// Summed promises that the checksums of the batches were computed in this process, of the bytes as they are here: they
	// are not computed once more. Leave it false for bytes that came over a network or from a file.
	Summed     bool
	Partitions []ProducePartition
}

// ProducePartition is what goes to one partition.
type ProducePartition struct {
	Topic     string
	Partition int32
	// Batches holds one or several whole record batches v2. The broker copies them before Produce returns and leaves
	// them as they are. Of entries for one partition that stand together each is appended or refused for itself, and
	// all are forced to the disk at once.
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
