package netloop

import (
	"time"

	"golang.org/x/sys/unix"
)

// A stream that pours is read at intervals instead of whenever something comes.
//
// PostgreSQL sends a COPY or a large result in pieces of 8 KiB. To be woken for
// each costs a wake-up, three system calls and a switch to the client's process
// for as many bytes as are copied in two microseconds. So once a stream has
// brought a good deal without a pause, the kernel is told not to report its
// bytes, and a timer reads them, at intervals that let about paceFill come. The
// first read that finds little ends this. What is poured is late by an interval
// at most.
const (
	paceAfter = 256 << 10 // bytes, read in pieces of paceLeast and more, before a stream is paced
	paceLeast = 4 << 10   // a read that brings less ends it
	paceFill  = 48 << 10  // of a loop's buffer, BufferSize

	paceFirst = 200 * time.Microsecond // the intervals begin so
	paceMin   = 100 * time.Microsecond
	paceMax   = time.Millisecond
)

// pace is what a stream remembers of how it pours.
type pace struct {
	poured   int           // bytes read in pieces of paceLeast and more since the last smaller one
	interval time.Duration // until the next read
	timer    *Timer        // of the next read; nil when none is due
	on       bool
}

// keepPace is told how much a Read brought.
func (s *Stream) keepPace(n int) {
	if n < paceLeast {
		s.pace.poured = 0
		s.hurry()
		return
	}
	s.pace.poured += n
	if s.more || s.pace.poured < paceAfter || s.loop.coarse {
		return
	}
	if !s.pace.on {
		if s.hungup || !s.report(quietEvents) {
			return
		}
		s.pace.on, s.pace.interval = true, paceFirst
	} else {
		// Half way to what would have brought the right amount.
		right := s.pace.interval * paceFill / time.Duration(n)
		s.pace.interval = min(max((s.pace.interval+right)/2, paceMin), paceMax)
	}
	if s.pace.timer == nil {
		s.pace.timer = s.loop.After(s.pace.interval, s.paced)
	}
}

// paced reads what has come meanwhile.
func (s *Stream) paced() {
	s.pace.timer = nil
	s.more, s.undrained = true, true
	if !s.waiting {
		s.readable() // while paused, Resume does it
	}
}

// hurry has every byte reported again. What came before is reported, too: a
// changed registration looks at the socket anew.
func (s *Stream) hurry() {
	if !s.pace.on {
		return
	}
	s.pace.on = false
	s.loop.Cancel(s.pace.timer)
	s.pace.timer = nil
	s.report(allEvents)
}

// report says which events of the socket are told.
func (s *Stream) report(events uint32) bool {
	ev := unix.EpollEvent{Events: events, Fd: s.fd, Pad: int32(s.turn)}
	return unix.EpollCtl(s.loop.epfd, unix.EPOLL_CTL_MOD, int(s.fd), &ev) == nil
}
