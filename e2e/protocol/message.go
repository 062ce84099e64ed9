package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// message reads what stands behind ">": a frontend message, how many times it is
// sent, "{i}" standing for the how-manieth it is, and which of its bytes are.
func message(s *scanner) ([]byte, error) {
	name := s.word()
	times := 1
	if n, ok := strings.CutSuffix(name, "x"); ok {
		if _, err := fmt.Sscan(n, &times); err != nil {
			return nil, fmt.Errorf("%q is neither a message nor a count", name)
		}
		name = s.word()
	}
	body := s.rest
	var all []byte
	for i := range times {
		s.rest = strings.ReplaceAll(body, "{i}", strconv.Itoa(i+1))
		one, err := encode(name, s)
		if err == nil {
			one, err = part(one, s)
		}
		if err == nil && !s.end() {
			err = fmt.Errorf("what is %q?", s.rest)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !strings.Contains(body, "{i}") {
			return bytes.Repeat(one, times), nil
		}
		all = append(all, one...)
	}
	return all, nil
}

// part reads "@from:to", which of a message's bytes are sent.
func part(one []byte, s *scanner) ([]byte, error) {
	if !s.take("@") {
		return one, nil
	}
	from, to, _ := strings.Cut(s.word(), ":")
	a, z := 0, len(one)
	var err error
	if from != "" {
		_, err = fmt.Sscan(from, &a)
	}
	if to != "" && err == nil {
		_, err = fmt.Sscan(to, &z)
	}
	if err != nil || a < 0 || a > z || z > len(one) {
		return nil, fmt.Errorf("%d bytes have no part %s:%s", len(one), from, to)
	}
	return one[a:z], nil
}

func encode(name string, s *scanner) ([]byte, error) {
	switch name {
	case "raw":
		text, err := s.text()
		return []byte(text), err
	case "frame":
		typ, body := s.word(), ""
		if len(typ) != 1 {
			return nil, fmt.Errorf("%q is no message type", typ)
		}
		var err error
		if !s.end() {
			body, err = s.text()
		}
		b := binary.BigEndian.AppendUint32([]byte(typ), uint32(4+len(body)))
		return append(b, body...), err
	}
	m, err := frontend(name, s)
	if err != nil {
		return nil, err
	}
	return m.Encode(nil)
}

func frontend(name string, s *scanner) (m pgproto3.FrontendMessage, err error) {
	// An argument that cannot be read is the line's error, whichever it is.
	text := func() (t string) {
		if err == nil {
			t, err = s.text()
		}
		return t
	}
	object := func() byte {
		if w := s.word(); w == "S" || w == "P" {
			return w[0]
		}
		err = fmt.Errorf("what is described or closed is missing: S (statement) or P (portal)")
		return 0
	}
	switch name {
	case "Query":
		m = &pgproto3.Query{String: text()}
	case "Parse":
		p := &pgproto3.Parse{Name: text(), Query: text()}
		types, bad := s.numbers()
		for _, t := range types {
			p.ParameterOIDs = append(p.ParameterOIDs, uint32(t))
		}
		return p, first(err, bad)
	case "Bind":
		b := &pgproto3.Bind{DestinationPortal: text(), PreparedStatement: text()}
		err = first(err, arguments(s, &b.Parameters, &b.ParameterFormatCodes))
		out, bad := s.formats("out")
		b.ResultFormatCodes = out
		return b, first(err, bad)
	case "Describe":
		m = &pgproto3.Describe{ObjectType: object(), Name: text()}
	case "Close":
		m = &pgproto3.Close{ObjectType: object(), Name: text()}
	case "Execute":
		e := &pgproto3.Execute{Portal: text()}
		if err == nil && !s.end() && !strings.HasPrefix(s.rest, "@") {
			var n int
			n, err = s.number()
			e.MaxRows = uint32(n)
		}
		return e, err
	case "FunctionCall":
		n, bad := s.number()
		f := &pgproto3.FunctionCall{Function: uint32(n)}
		var formats []int16
		err = first(bad, arguments(s, &f.Arguments, &formats))
		for _, code := range formats {
			f.ArgFormatCodes = append(f.ArgFormatCodes, uint16(code))
		}
		out, bad := s.formats("out")
		if len(out) > 0 {
			f.ResultFormatCode = uint16(out[0])
		}
		return f, first(err, bad)
	case "CopyData":
		m = &pgproto3.CopyData{Data: []byte(text())}
	case "CopyFail":
		m = &pgproto3.CopyFail{Message: text()}
	case "CopyDone":
		m = &pgproto3.CopyDone{}
	case "Sync":
		m = &pgproto3.Sync{}
	case "Flush":
		m = &pgproto3.Flush{}
	case "Terminate":
		m = &pgproto3.Terminate{}
	default:
		err = fmt.Errorf("no such message")
	}
	return m, err
}

// arguments reads "(1 null) in=0,1".
func arguments(s *scanner, values *[][]byte, formats *[]int16) error {
	v, err := s.values()
	if err != nil {
		return err
	}
	*values = v
	*formats, err = s.formats("in")
	return err
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
