package proxy

import (
	"encoding/binary"
	"testing"

	"pggateway/wire"
)

func notification(pid uint32, text string) []byte {
	return message(wire.NotificationResponse, string(binary.BigEndian.AppendUint32(nil, pid))+"ch\x00"+text+"\x00")
}

// TestNotifications: who notifies itself is told its own process ID, however the
// message is cut.
func TestNotifications(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	const pid = 0x01020304
	a.put(frames(t, "Q(listen ch)", true))
	s.want(frames(t, "Q(listen ch)", true))
	found := false
	r.onLoop(func(h *host) {
		if s := h.sessions; s != nil && s.backend != nil {
			s.backend.pid, found = pid, true
		}
	})
	if !found {
		t.Fatal("the client has no server")
	}
	s.put(frames(t, "C(LISTEN) Z", false))
	a.want(frames(t, "C(LISTEN) Z", false))

	s.put(notification(99, "of another"))
	a.want(notification(99, "of another"))
	own := notification(pid, "of its own")
	for cut := range own {
		s.put(own[:cut])
		s.put(own[cut:])
		a.want(notification(a.key.PID, "of its own"))
	}
}
