package kit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// AccessKey is one AWS access key that may sign tokens.
type AccessKey struct {
	ID, Secret string
	// Session is the session token of temporary credentials; "" for a long-lived key.
	Session string
	// Expires is when temporary credentials stop counting; zero: never.
	Expires time.Time
}

// TokenCheck is what RDS knows when a token comes in as a password.
type TokenCheck struct {
	Hosts  []string // host:port of each of the database's endpoints
	Region string
	User   string // the startup message's user
	Keys   []AccessKey
	Now    time.Time
}

// The reasons for which RDS refuses a token, as CloudWatch names them. A client
// is never told which.
var (
	ErrInvalidToken  = errors.New("InvalidToken")
	ErrExpiredToken  = errors.New("ExpiredToken")
	ErrNotAuthorized = errors.New("NotAuthorized")
)

const (
	maxTokenLife = 900 * time.Second
	maxClockSkew = 5 * time.Minute
	tokenTime    = "20060102T150405Z"
	emptySHA256  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Verify checks an RDS authentication token: a presigned GET URL without its
// scheme, signed as AWS Signature Version 4 describes ("Create a signed AWS API
// request", query string form). It is written from that description and shares
// no code with the SDK that the gateway signs with.
func (c TokenCheck) Verify(token string) error {
	u, err := url.Parse("https://" + token)
	if err != nil {
		return fmt.Errorf("%w: no URL", ErrInvalidToken)
	}
	known := false
	for _, host := range c.Hosts {
		known = known || u.Host == host
	}
	if !known {
		return fmt.Errorf("%w: signed for %q", ErrInvalidToken, u.Host)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: malformed query", ErrInvalidToken)
	}
	for name, values := range q {
		if len(values) != 1 {
			return fmt.Errorf("%w: %s is there %d times", ErrInvalidToken, name, len(values))
		}
	}
	for name, want := range map[string]string{
		"Action": "connect", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-SignedHeaders": "host",
	} {
		if q.Get(name) != want {
			return fmt.Errorf("%w: %s is %q", ErrInvalidToken, name, q.Get(name))
		}
	}
	if q.Get("DBUser") != c.User {
		return fmt.Errorf("%w: for user %q, not %q", ErrNotAuthorized, q.Get("DBUser"), c.User)
	}
	credential := strings.Split(q.Get("X-Amz-Credential"), "/")
	if len(credential) != 5 || credential[2] != c.Region || credential[3] != "rds-db" || credential[4] != "aws4_request" {
		return fmt.Errorf("%w: the credential's scope is not %s/rds-db", ErrInvalidToken, c.Region)
	}
	signed, err := time.Parse(tokenTime, q.Get("X-Amz-Date"))
	if err != nil || signed.Format("20060102") != credential[1] {
		return fmt.Errorf("%w: malformed date", ErrInvalidToken)
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	life := time.Duration(seconds) * time.Second
	if err != nil || life <= 0 || life > maxTokenLife {
		return fmt.Errorf("%w: X-Amz-Expires is %q", ErrInvalidToken, q.Get("X-Amz-Expires"))
	}
	if c.Now.After(signed.Add(life)) {
		return fmt.Errorf("%w: signed at %s", ErrExpiredToken, signed.Format(time.RFC3339))
	}
	if signed.After(c.Now.Add(maxClockSkew)) {
		return fmt.Errorf("%w: signed in the future", ErrInvalidToken)
	}
	key, err := c.key(credential[0], q.Get("X-Amz-Security-Token"))
	if err != nil {
		return err
	}
	given, err := hex.DecodeString(q.Get("X-Amz-Signature"))
	if err != nil || !hmac.Equal(given, signature(key.Secret, credential[1:], u, q)) {
		return fmt.Errorf("%w: the signature does not match", ErrInvalidToken)
	}
	return nil
}

func (c TokenCheck) key(id, session string) (AccessKey, error) {
	for _, k := range c.Keys {
		if k.ID != id || k.Session != session {
			continue
		}
		if !k.Expires.IsZero() && !c.Now.Before(k.Expires) {
			return k, fmt.Errorf("%w: the credentials that signed expired", ErrExpiredToken)
		}
		return k, nil
	}
	return AccessKey{}, fmt.Errorf("%w: unknown access key or session token", ErrInvalidToken)
}

// signature computes what X-Amz-Signature must be; scope is day, region, service, "aws4_request".
func signature(secret string, scope []string, u *url.URL, q url.Values) []byte {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	var pairs []string
	for name, values := range q {
		if name != "X-Amz-Signature" {
			pairs = append(pairs, rfc3986(name)+"="+rfc3986(values[0]))
		}
	}
	sort.Strings(pairs)
	request := strings.Join([]string{
		"GET", path, strings.Join(pairs, "&"), "host:" + strings.TrimSuffix(u.Host, ":443"), "", "host", emptySHA256,
	}, "\n")
	digest := sha256.Sum256([]byte(request))
	text := strings.Join([]string{
		"AWS4-HMAC-SHA256", q.Get("X-Amz-Date"), strings.Join(scope, "/"), hex.EncodeToString(digest[:]),
	}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range scope {
		key = mac(key, part)
	}
	return mac(key, text)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// rfc3986 escapes everything but unreserved characters, upper-case hex, a space as %20.
func rfc3986(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
