package engine

import "sync"

// Kept are renderings that all tests of this package share, as runs of the program do: charts take most of their time.
var Kept = &memory{of: map[string][]byte{}}

type memory struct {
	mu sync.Mutex
	of map[string][]byte
}

func (m *memory) Get(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[key]
}

func (m *memory) Put(key string, rendering []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[key] = rendering
}
