package serde

// ForTopic returns the serde that a topic's keys or values of type T get: the one that the method
// TopicSerde() Serde[T] of T returns, where T has it, and otherwise [For]. The method is called on the zero value of T.
// A type uses it to be written otherwise in topics than in stores.
func ForTopic[T any]() Serde[T] {
	if own, ok := any(*new(T)).(interface{ TopicSerde() Serde[T] }); ok {
		return own.TopicSerde()
	}
	return For[T]()
}
