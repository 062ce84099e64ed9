//go:build race

package netloop

// raceDetector says that this is a build with the race detector, in which a
// sync.Pool forgets a quarter of what it is given, at random.
const raceDetector = true
