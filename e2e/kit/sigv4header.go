package kit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RequestCheck is what an AWS service knows when a request comes in.
type RequestCheck struct {
	Region, Service string
	Keys            []AccessKey
	Now             time.Time
}

// The reasons for which a service refuses a request before it looks at it.
var (
	ErrUnsigned     = errors.New("MissingAuthenticationToken")
	ErrUnknownKey   = errors.New("InvalidClientTokenId")
	ErrBadSignature = errors.New("SignatureDoesNotMatch")
	ErrWrongScope   = errors.New("InvalidSignatureException")
)

// Verify checks the Authorization header of a request ("Create a signed AWS API
// request"), and like TokenCheck.Verify shares no code with the SDK. It returns
// who signed.
func (c RequestCheck) Verify(r *http.Request, body []byte) (AccessKey, error) {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return AccessKey{}, ErrUnsigned
	}
	part := map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[name] = value
	}
	credential := strings.Split(part["Credential"], "/")
	if len(credential) != 5 || credential[2] != c.Region || credential[3] != c.Service || credential[4] != "aws4_request" {
		return AccessKey{}, fmt.Errorf("%w: Credential should be scoped to %s/%s", ErrWrongScope, c.Region, c.Service)
	}
	date := r.Header.Get("X-Amz-Date")
	signed, err := time.Parse(tokenTime, date)
	if err != nil || signed.Format("20060102") != credential[1] {
		return AccessKey{}, fmt.Errorf("%w: malformed date", ErrBadSignature)
	}
	switch {
	case signed.Add(maxClockSkew).Before(c.Now):
		return AccessKey{}, fmt.Errorf("%w: Signature expired: %s is now earlier than %s", ErrBadSignature, date, c.Now.Add(-maxClockSkew).UTC().Format(tokenTime))
	case signed.After(c.Now.Add(maxClockSkew)):
		return AccessKey{}, fmt.Errorf("%w: Signature not yet current: %s is still later than %s", ErrBadSignature, date, c.Now.Add(maxClockSkew).UTC().Format(tokenTime))
	}
	i := slices.IndexFunc(c.Keys, func(k AccessKey) bool { return k.ID == credential[0] })
	if i < 0 || c.Keys[i].Session != r.Header.Get("X-Amz-Security-Token") {
		return AccessKey{}, fmt.Errorf("%w: The security token included in the request is invalid", ErrUnknownKey)
	}
	key := c.Keys[i]
	if !key.Expires.IsZero() && !c.Now.Before(key.Expires) {
		return AccessKey{}, fmt.Errorf("%w: The security token included in the request is expired", ErrExpiredToken)
	}
	names := strings.Split(part["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date"} {
		if !slices.Contains(names, must) {
			return AccessKey{}, fmt.Errorf("%w: %s is not signed", ErrBadSignature, must)
		}
	}
	given, err := hex.DecodeString(part["Signature"])
	if err != nil || !hmac.Equal(given, headerSignature(r, body, names, date, credential[1:], key.Secret)) {
		return AccessKey{}, fmt.Errorf("%w: The request signature we calculated does not match the signature you provided", ErrBadSignature)
	}
	return key, nil
}

// headerSignature computes what the signature must be. The path is "/" with all
// the services that the kit stands in for.
func headerSignature(r *http.Request, body []byte, names []string, date string, scope []string, secret string) []byte {
	digest := sha256.Sum256(body)
	lines := []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery}
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		lines = append(lines, name+":"+strings.Join(strings.Fields(value), " "))
	}
	lines = append(lines, "", strings.Join(names, ";"), hex.EncodeToString(digest[:]))
	request := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope, "/"), hex.EncodeToString(request[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range scope {
		key = mac(key, part)
	}
	return mac(key, text)
}
