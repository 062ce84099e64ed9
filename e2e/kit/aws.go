package kit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// AWSOptions is how the stand-in for AWS's own services is set up.
type AWSOptions struct {
	Region string // "": us-east-1; the only one it answers for
	Key    AccessKey
	// Now is AWS's clock; nil: time.Now.
	Now func() time.Time
}

// AWS stands in for STS, Secrets Manager, Systems Manager, the metadata of an EC2
// instance and the credentials endpoint of a container, all at one address. It
// verifies signatures itself, and counts.
type AWS struct {
	URL    string
	Region string
	Key    AccessKey // of the gateway's own identity

	t      T
	now    func() time.Time
	server *httptest.Server
	done   chan struct{}

	mu       sync.Mutex
	secrets  map[string]secretVersion // by ID: a name or an ARN
	params   map[string]string
	roles    map[string]RoleTrust
	sessions []AccessKey // of roles, in the order in which they were given
	names    []string    // of these sessions
	calls    map[string]int
	fail     map[string]error
	hang     bool
	life     time.Duration
}

type secretVersion struct {
	text   string
	binary bool
}

// RoleTrust is a role that may be assumed.
type RoleTrust struct {
	ExternalID string // that must come with it; "": none must
	Web        bool   // by a web identity, unsigned
}

// StartAWS starts the stand-in. It ends with the test.
func StartAWS(t T, o AWSOptions) *AWS {
	t.Helper()
	a := &AWS{
		t: t, Region: o.Region, Key: o.Key, now: o.Now, done: make(chan struct{}), life: time.Hour,
		secrets: map[string]secretVersion{}, params: map[string]string{}, roles: map[string]RoleTrust{},
		calls: map[string]int{}, fail: map[string]error{},
	}
	if a.Region == "" {
		a.Region = "us-east-1"
	}
	if a.Key.ID == "" {
		a.Key = AccessKey{ID: "AKIATEST000000000000", Secret: "secret/access+key"}
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	a.URL = a.server.URL
	t.Cleanup(func() { close(a.done); a.server.Close() })
	return a
}

// Env is the environment of a process that is to use it, without credentials.
func (a *AWS) Env() []string {
	return []string{
		"AWS_REGION=" + a.Region, "AWS_ENDPOINT_URL_STS=" + a.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + a.URL,
		"AWS_ENDPOINT_URL_SSM=" + a.URL, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// KeyEnv is the environment that has the key of its own identity.
func (a *AWS) KeyEnv() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + a.Key.ID, "AWS_SECRET_ACCESS_KEY=" + a.Key.Secret}
}

// SetSecret stores a secret's current text.
func (a *AWS) SetSecret(id, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets[id] = secretVersion{text: text}
}

// SetBinary stores a secret as bytes.
func (a *AWS) SetBinary(id, bytes string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets[id] = secretVersion{bytes, true}
}

// SetParameter stores a SecureString.
func (a *AWS) SetParameter(name, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.params[name] = text
}

// SetRole makes a role that may be assumed.
func (a *AWS) SetRole(arn string, trust RoleTrust) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[arn] = trust
}

// SetSessionLife says how long the sessions of roles last, whatever is asked for.
func (a *AWS) SetSessionLife(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life = d
}

// Fail makes an operation ("GetSecretValue") fail with a code and message
// ("ThrottlingException: Rate exceeded"); nil ends that.
func (a *AWS) Fail(operation string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail[operation] = err
}

// Hang makes every request wait.
func (a *AWS) Hang(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hang = on
}

// Calls returns how often an operation was asked for.
func (a *AWS) Calls(operation string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[operation]
}

// Sessions returns the keys of the roles' sessions so far.
func (a *AWS) Sessions() []AccessKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]AccessKey(nil), a.sessions...)
}

// SessionNames returns the sessions' names: what CloudTrail shows.
func (a *AWS) SessionNames() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.names...)
}

func (a *AWS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	w.Header().Set("Date", a.now().UTC().Format(http.TimeFormat))
	a.mu.Lock()
	hang := a.hang
	a.mu.Unlock()
	if hang {
		select {
		case <-a.done:
		case <-r.Context().Done():
		}
		return
	}
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(r.URL.Path, "/latest/"):
		a.metadata(w, r)
	case r.URL.Path == "/container":
		a.container(w, r)
	case target == "secretsmanager.GetSecretValue", target == "AmazonSSM.GetParameter":
		a.json(w, r, body)
	case target == "" && r.Method == http.MethodPost:
		a.sts(w, r, body)
	default:
		http.Error(w, "UnknownOperationException", http.StatusNotFound)
	}
}

// call counts a call and says whether it is to fail.
func (a *AWS) call(operation string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[operation]++
	return a.fail[operation]
}

// json serves Secrets Manager and Systems Manager (AWS JSON 1.1).
func (a *AWS) json(w http.ResponseWriter, r *http.Request, body []byte) {
	prefix, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	service := map[string]string{"secretsmanager": "secretsmanager", "AmazonSSM": "ssm"}[prefix]
	err := a.call(operation)
	if err == nil {
		_, err = RequestCheck{a.Region, service, a.keys(), a.now()}.Verify(r, body)
	}
	var answer any
	if err == nil {
		answer, err = a.value(operation, body)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		code, message, _ := strings.Cut(err.Error(), ": ")
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": code, "Message": message}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *AWS) value(operation string, body []byte) (any, error) {
	var in struct {
		SecretId, Name string
		WithDecryption bool
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, errors.New("SerializationException: malformed")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if operation == "GetParameter" {
		text, ok := a.params[in.Name]
		switch {
		case !ok:
			return nil, errors.New("ParameterNotFound: ")
		case !in.WithDecryption:
			text = "AQICAHencrypted"
		}
		return map[string]any{"Parameter": map[string]string{"Name": in.Name, "Type": "SecureString", "Value": text}}, nil
	}
	v, ok := a.secrets[in.SecretId]
	switch {
	case !ok:
		return nil, errors.New("ResourceNotFoundException: Secrets Manager can't find the specified secret")
	case v.binary:
		return map[string]any{"Name": in.SecretId, "SecretBinary": []byte(v.text)}, nil
	}
	return map[string]any{"Name": in.SecretId, "SecretString": v.text, "VersionStages": []string{"AWSCURRENT"}}, nil
}

// keys are all that may sign.
func (a *AWS) keys() []AccessKey { return append(a.Sessions(), a.Key) }

// session makes temporary credentials.
func (a *AWS) session(name string) AccessKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.sessions) + 1
	k := AccessKey{
		ID: fmt.Sprintf("ASIATEST%012d", n), Secret: fmt.Sprintf("temporary/%d", n), Session: fmt.Sprintf("session+%d==", n),
		Expires: a.now().Add(a.life).Truncate(time.Second),
	}
	a.sessions, a.names = append(a.sessions, k), append(a.names, name)
	return k
}
