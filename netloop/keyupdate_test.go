package netloop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

// traffic is one direction of TLS 1.3 after the handshake, by hand (RFC 8446,
// sections 5.2 and 7.2): crypto/tls answers a KeyUpdate, but never asks for one.
type traffic struct {
	t       *testing.T
	suite   uint16
	secret  []byte
	aead    cipher.AEAD
	iv      []byte
	counter uint64
}

func newTraffic(t *testing.T, suite uint16, secret []byte) *traffic {
	t.Helper()
	d := &traffic{t: t, suite: suite}
	d.rekey(secret)
	return d
}

func (d *traffic) expand(label string, n int) []byte {
	d.t.Helper()
	var info cryptobyte.Builder
	info.AddUint16(uint16(n))
	info.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	info.AddUint8(0) // no context
	out, err := hkdf.Expand(func() hash.Hash { return sha256.New() }, d.secret, string(info.BytesOrPanic()), n)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func (d *traffic) rekey(secret []byte) {
	d.t.Helper()
	d.secret, d.counter = secret, 0
	d.iv = d.expand("iv", 12)
	var err error
	switch d.suite {
	case tls.TLS_AES_128_GCM_SHA256:
		var block cipher.Block
		if block, err = aes.NewCipher(d.expand("key", 16)); err == nil {
			d.aead, err = cipher.NewGCM(block)
		}
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		d.aead, err = chacha20poly1305.New(d.expand("key", chacha20poly1305.KeySize))
	default:
		d.t.Skipf("%s: not a suite of this test", tls.CipherSuiteName(d.suite))
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// update goes on with the next generation of keys.
func (d *traffic) update() { d.rekey(d.expand("traffic upd", sha256.Size)) }

func (d *traffic) nonce() []byte {
	n := bytes.Clone(d.iv)
	last := n[len(n)-8:]
	binary.BigEndian.PutUint64(last, binary.BigEndian.Uint64(last)^d.counter)
	d.counter++
	return n
}

func (d *traffic) seal(typ byte, content []byte) []byte {
	plain := append(bytes.Clone(content), typ)
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(plain)+d.aead.Overhead()))
	return d.aead.Seal(header, d.nonce(), plain, header)
}

func (d *traffic) open(r io.Reader) (typ byte, content []byte) {
	d.t.Helper()
	header := make([]byte, 5)
	if _, err := io.ReadFull(r, header); err != nil {
		d.t.Fatal(err)
	}
	sealed := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, sealed); err != nil {
		d.t.Fatal(err)
	}
	plain, err := d.aead.Open(nil, d.nonce(), sealed, header)
	if err != nil {
		d.t.Fatalf("a record that cannot be opened: %v", err)
	}
	return plain[len(plain)-1], plain[:len(plain)-1]
}

const (
	recordHandshake   = 22
	recordApplication = 23
)

// A KeyUpdate that asks for one in return makes crypto/tls write from within
// Read: the answer must go out, in its place among the data, also when none is
// there to be echoed.
func TestKeyUpdate(t *testing.T) {
	l := runLoop(t)
	raw, server := tcpPair(t)
	var log bytes.Buffer
	c, s := secure(t, raw, server, tls.VersionTLS13, &log)
	secrets := map[string][]byte{}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); len(f) == 3 {
			secrets[f[0]], _ = hex.DecodeString(f[2])
		}
	}
	suite := c.ConnectionState().CipherSuite
	up := newTraffic(t, suite, secrets["CLIENT_TRAFFIC_SECRET_0"])
	down := newTraffic(t, suite, secrets["SERVER_TRAFFIC_SECRET_0"])
	attachEcho(t, l, s.transport, s.conn)

	echo := func(what string) {
		t.Helper()
		send(t, raw, up.seal(recordApplication, []byte(what)))
		if typ, got := down.open(raw); typ != recordApplication || string(got) != what {
			t.Fatalf("record %d %q, want the echo of %q", typ, got, what)
		}
	}
	keyUpdate := func(requested byte) []byte { return []byte{24, 0, 0, 1, requested} }

	echo("before")
	send(t, raw, up.seal(recordHandshake, keyUpdate(0))) // ours alone
	up.update()
	echo("with our new keys")
	for range 3 {
		send(t, raw, up.seal(recordHandshake, keyUpdate(1))) // both
		up.update()
		if typ, got := down.open(raw); typ != recordHandshake || !bytes.Equal(got, keyUpdate(0)) {
			t.Fatalf("record %d % x, want a KeyUpdate", typ, got)
		}
		down.update()
		echo("with new keys on both sides")
	}
}
