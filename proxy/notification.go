package proxy

import "encoding/binary"

// notified takes note of a NotificationResponse: the process that notified, the
// channel, the payload. A client that notifies itself recognises that by the
// process ID that it got with its key. That one is the gateway's, so it takes the
// place of the server's.
func (b *backend) notified(body []byte) {
	if s := b.session; s != nil && b.pid != 0 && len(body) >= 4 && binary.BigEndian.Uint32(body) == b.pid {
		binary.BigEndian.PutUint32(body, s.key.PID)
	}
}
