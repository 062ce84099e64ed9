package netloop

// Chunks are the buffers that hold bytes only while they cannot move on: output
// that a socket did not take, input that waits for a server. An idle stream
// holds none. Each loop keeps a few of each size for itself.
type chunks struct {
	free [len(chunkSizes)][][]byte
}

var chunkSizes = [...]int{1 << 10, 8 << 10, 64 << 10, 256 << 10}

// keepChunks is how many spare chunks of a size a loop keeps; the rest goes to
// the garbage collector, so that a burst of slow clients is not remembered.
const keepChunks = 32

// Chunk returns an empty slice with room for n bytes. It must be called on the loop.
func (l *Loop) Chunk(n int) []byte {
	for i, size := range chunkSizes {
		if n > size {
			continue
		}
		if k := len(l.chunks.free[i]); k > 0 {
			c := l.chunks.free[i][k-1]
			l.chunks.free[i][k-1] = nil
			l.chunks.free[i] = l.chunks.free[i][:k-1]
			return c
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// Recycle gives a chunk back. The caller must hold no other reference to it.
func (l *Loop) Recycle(c []byte) {
	for i, size := range chunkSizes {
		if cap(c) == size && len(l.chunks.free[i]) < keepChunks {
			l.chunks.free[i] = append(l.chunks.free[i], c[:0])
			return
		}
	}
}

// Extend appends p to the chunk c, moving to a larger one where c has no room.
// c may be nil. The result replaces c.
func (l *Loop) Extend(c, p []byte) []byte {
	if len(c)+len(p) <= cap(c) {
		return append(c, p...)
	}
	grown := append(l.Chunk(len(c)+len(p)), c...)
	if c != nil {
		l.Recycle(c)
	}
	return append(grown, p...)
}
