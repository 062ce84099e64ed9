package iam

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"
)

// grant is who signed a token for what.
type grant struct{ host, region, user, accessKey, session string }

// verify reads a token as RDS does: SigV4's presigned request ("Signature Version 4
// signing process", AWS IAM User Guide), written from the algorithm and without the
// SDK. secrets are the secret keys by access key.
func verify(token string, now time.Time, secrets map[string]string) (grant, error) {
	host, query, ok := strings.Cut(token, "?")
	host = strings.TrimSuffix(host, "/")
	if !ok || strings.ContainsAny(host, "/#@") {
		return grant{}, errors.New("not host:port?query")
	}
	type pair struct{ key, value string }
	var pairs []pair
	q := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(part, "=")
		key, err := url.PathUnescape(k) // unlike QueryUnescape it leaves "+" alone, as AWS does
		if err != nil {
			return grant{}, err
		}
		value, err := url.PathUnescape(v)
		if err != nil {
			return grant{}, err
		}
		if _, twice := q[key]; twice {
			return grant{}, fmt.Errorf("%s is there twice", key)
		}
		q[key] = value
		if key != "X-Amz-Signature" {
			pairs = append(pairs, pair{encode(key), encode(value)})
		}
	}
	scope := strings.Split(q["X-Amz-Credential"], "/")
	if len(scope) != 5 || scope[3] != "rds-db" || scope[4] != "aws4_request" ||
		q["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256" || q["X-Amz-SignedHeaders"] != "host" || q["Action"] != "connect" {
		return grant{}, fmt.Errorf("not a token: %v", q)
	}
	const form = "20060102T150405Z"
	date, err := time.Parse(form, q["X-Amz-Date"])
	if err != nil || !strings.HasPrefix(q["X-Amz-Date"], scope[1]+"T") {
		return grant{}, fmt.Errorf("date %q, scope %v", q["X-Amz-Date"], scope)
	}
	if q["X-Amz-Expires"] != "900" || now.Before(date.Add(-5*time.Minute)) || now.After(date.Add(15*time.Minute)) {
		return grant{}, fmt.Errorf("signed %s for %s seconds, now %s", date, q["X-Amz-Expires"], now)
	}
	secret, ok := secrets[scope[0]]
	if !ok {
		return grant{}, fmt.Errorf("unknown access key %s", scope[0])
	}

	sort.Slice(pairs, func(i, j int) bool { return pairs[i].key < pairs[j].key })
	var canonical []string
	for _, p := range pairs {
		canonical = append(canonical, p.key+"="+p.value)
	}
	const emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	request := "GET\n/\n" + strings.Join(canonical, "&") + "\nhost:" + host + "\n\nhost\n" + emptyBody
	digest := sha256.Sum256([]byte(request))
	toSign := "AWS4-HMAC-SHA256\n" + date.Format(form) + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + secret)
	for _, part := range append(scope[1:], toSign) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	if hex.EncodeToString(key) != q["X-Amz-Signature"] {
		return grant{}, errors.New("the signature is wrong")
	}
	return grant{host, scope[2], q["DBUser"], scope[0], q["X-Amz-Security-Token"]}, nil
}

// encode is AWS's UriEncode: everything but RFC 3986's unreserved characters.
func encode(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
